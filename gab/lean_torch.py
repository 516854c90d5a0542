"""PyTorch for a process that lives for one audit: imported without what only a compiler needs.

`import torch` registers some two thousand shape functions in Python for meta tensors; the first
optimiser step, or the first counted operation, imports all of TorchDynamo; the first shape
function imports sympy.  Together that is well over half of a cold `genesys-engine check`.
Importing this module puts placeholders in those places before it imports torch.  A placeholder
gives way to the real module as soon as anybody asks it for anything that it does not know, or
imports something inside it; `complete` brings the shape functions at once.

What a placeholder knows is what its module answers where nothing is being compiled: `disable` and
`graph_break` do nothing, a size is a plain number, a guard on it is a plain truth value, and no
value is an expression of sympy.

Only for a process that ends soon: one that serves many jobs imports the whole once.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

DYNAMO = "torch._dynamo"
META_KERNELS = "torch._meta_registrations"
SYMBOLIC_SHAPES = "torch.fx.experimental.symbolic_shapes"
UNUSED = ("torch.export", "torch.utils.data")
_OF_PLAIN_SIZES: Mapping[str, Callable[..., Any]] = {
    "guard_or_false": bool,
    "guard_or_true": bool,
    "expect_true": bool,
    "guard_size_oblivious": bool,
    "statically_known_true": bool,
    "sym_eq": lambda one, other: one == other if isinstance(one, int) else [*one] == [*other],
    "sym_and": lambda *truths: all(truths),
    "sym_or": lambda *truths: any(truths),
    "has_guarding_hint": lambda size: True,
    "guarding_hint_or_throw": lambda size: size,
    "is_nested_int": lambda size: False,
}


def lacks_shapes() -> bool:
    """Tell whether shape functions are left out so far."""
    return isinstance(sys.modules.get(META_KERNELS), Placeholder)


def complete() -> None:
    """Have every shape function that `import torch` alone would have: meta tensors need them."""
    if lacks_shapes():
        _load(META_KERNELS)


def everything() -> None:
    """Import all that was left out, for code that names something of it."""
    for name in (META_KERNELS, SYMBOLIC_SHAPES, DYNAMO):
        if isinstance(sys.modules.get(name), Placeholder):
            _load(name)


def _load(name: str) -> ModuleType:
    """Import the real module in its placeholder's stead; TorchDynamo works with meta tensors."""
    placeholder = sys.modules.get(name)
    if isinstance(placeholder, Placeholder):
        del sys.modules[name]
        placeholder.forget()
    if name == DYNAMO:
        complete()
    if name in (DYNAMO, SYMBOLIC_SHAPES):
        _load("sympy")
    return importlib.import_module(name)


class Placeholder(ModuleType):
    """Stands in `sys.modules` for a module that has not been needed yet."""

    def __init__(self, name: str, known: Mapping[str, Any]) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None, is_package=True)
        self.__path__: list[str] = []
        self.__dict__.update(known)
        self._known = tuple(known)

    def forget(self) -> None:
        """Give no answer of its own any more: whoever holds it gets those of the module."""
        for name in self._known:
            self.__dict__.pop(name, None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # `inspect` and `warnings` look every module over
            raise AttributeError(name)
        return getattr(_load(self.__name__), name)


class _Inside:
    """Finds what lies inside a placeholder's package, by loading the real package first."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        """Return a spec where a placeholder is the parent; None leaves it to others."""
        parent = name.rpartition(".")[0]
        if not isinstance(sys.modules.get(parent), Placeholder):
            return None
        _load(parent)
        return ModuleSpec(name, _AsItIs(importlib.import_module(name)))


class _AsItIs(Loader):
    """Answers with a module that is there already."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module."""
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        """Undo the import system's changes to it."""
        module.__spec__ = self._spec


def _disable(fn: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Any:
    """Return the function as it is; without one, a decorator that does so."""
    return _disable if fn is None else fn


def _graph_break(*_: Any, **__: Any) -> None:
    """Do nothing: no graph is being traced."""


def _of_plain_sizes(name: str, answer: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that returns `answer` for plain numbers, else asks the module."""

    def ask(*values: Any) -> Any:
        if all(map(_is_plain, values)):
            return answer(*values)
        return getattr(_load(SYMBOLIC_SHAPES), name)(*values)

    return ask


def _is_plain(value: Any) -> bool:
    """Tell whether a value is a number or a shape of numbers, none of them symbolic."""
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return type(value) in (bool, int)


def _install() -> None:
    known: dict[str, dict[str, Any]] = {
        DYNAMO: {"disable": _disable, "graph_break": _graph_break},
        META_KERNELS: {},
        SYMBOLIC_SHAPES: {
            name: _of_plain_sizes(name, answer) for name, answer in _OF_PLAIN_SIZES.items()
        },
        "sympy": {"Basic": type("Basic", (), {})},  # for `isinstance`
        **{name: {} for name in UNUSED},
    }
    sys.meta_path.insert(0, _Inside())
    sys.modules |= {name: Placeholder(name, answers) for name, answers in known.items()}


def _make_generators_usable() -> None:
    """Set the metaclass of `torch.Generator`, which the import of the shape functions sets.

    A version of PyTorch in which that is not how it is done gets the shape functions at once.
    """
    try:
        from torch._opaque_base import OpaqueBaseMeta

        torch._C._set_generator_metaclass(OpaqueBaseMeta)
    except (ImportError, AttributeError):
        complete()


if "torch" not in sys.modules:
    _install()
    import torch

    _make_generators_usable()
