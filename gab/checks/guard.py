"""The language of a block: what it may reach for, held before anything of it runs.

A block shares its process with the check that judges it, so it must not be able to change torch,
the check or the reply, nor to look into their frames.  Python has many ways to that; all of them
begin with one of a few constructs, and those are refused on the syntax tree:

* an import outside the list, a way from an allowed module to another one (`torch.nn.modules.
  module.inspect`), and a module as a value, which would make such ways invisible;
* names and attributes of the interpreter (`eval`, `__globals__`, frames), and attributes whose
  name is only known at run time;
* stores into anything that is not the block's own, and methods that stand in the place of what
  `nn.Module` and `Tensor` offer to the checks.

Names are resolved on the safe side: one that an import binds means that import unless a function
binds it as its own.  Modules are looked up as they are, so call this before a block was loaded.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from genesys_engine.gab.checks.report import Finding, finding
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.syntax import Import, imports

# Modules of pure computation; with a star, all below them too.
_MODULE_WORDS = (
    "__future__ abc collections collections.abc copy dataclasses einops* enum functools "
    "itertools math numbers operator opt_einsum* typing typing_extensions warnings xformers* "
    "torch torch.amp* torch.autograd torch.autograd.function torch.compiler torch.cuda "
    "torch.cuda.amp* torch.distributions* torch.fft torch.func torch.functional torch.jit "
    "torch.linalg torch.nn torch.nn.attention* torch.nn.functional torch.nn.init "
    "torch.nn.modules* torch.nn.parameter torch.nn.utils* torch.signal* torch.sparse "
    "torch.special torch.types torch.utils torch.utils.checkpoint torch.version "
)
_MODULES = frozenset(_MODULE_WORDS.replace("*", "").split())
_FAMILIES = tuple(word[:-1] + "." for word in _MODULE_WORDS.split() if word.endswith("*"))
# Members of these modules that change or tell what the process has in common.
_MEMBER_WORDS = (
    "copy.replace dataclasses.make_dataclass enum.global_enum functools.update_wrapper "
    "functools.wraps operator.attrgetter operator.methodcaller "
    "typing.ForwardRef typing.get_type_hints typing_extensions.get_type_hints "
    "torch.default_generator torch.from_file torch.frombuffer torch.get_rng_state "
    "torch.initial_seed torch.load torch.manual_seed torch.save torch.seed "
    "torch.compile torch.use_deterministic_algorithms torch.jit.load torch.jit.save "
    "torch.autograd.detect_anomaly torch.cuda.manual_seed "
    "torch.cuda.manual_seed_all torch.utils.swap_tensors "
)
_MEMBERS = frozenset(_MEMBER_WORDS.split())
_SET = ("set_", "register_module_")  # torch.set_default_dtype ..., hooks on all modules
_SETS_LOCALLY = frozenset({"set_grad_enabled"})

_BUILTIN_WORDS = (
    "__import__ __builtins__ __build_class__ __loader__ __spec__ eval exec compile open input "
    "globals locals vars breakpoint exit quit help memoryview "
)
_BUILTINS = frozenset(_BUILTIN_WORDS.split())
# Only called, and with a name that stands there, may these be used.
_BY_NAME = frozenset({"getattr", "setattr", "delattr", "hasattr"})

_ATTRIBUTE_WORDS = (
    "mro f_back f_builtins f_code f_globals f_locals f_trace gi_frame gi_code gi_yieldfrom "
    "cr_frame cr_code cr_await ag_frame ag_code tb_frame tb_next co_code co_consts func_globals "
    "as_subclass numpy ctypes data_ptr storage untyped_storage typed_storage share_memory_ "
)
_ATTRIBUTES = frozenset(_ATTRIBUTE_WORDS.split())
# Of the names between double underscores, those that a block may read and those it may define.
_READABLE_WORDS = "__init__ __name__ __class__ __doc__ __len__ __version__ __repr__ "
_READABLE = frozenset(_READABLE_WORDS.split())
_DEFINABLE_WORDS = (
    "__init__ __repr__ __str__ __len__ __iter__ __next__ __getitem__ __setitem__ __contains__ "
    "__eq__ __hash__ __bool__ __post_init__ __enter__ __exit__ __slots__ __all__ __version__ "
    "__author__ __doc__ "
)
_DEFINABLE = frozenset(_DEFINABLE_WORDS.split())
# What `nn.Module` has and a block may still define, since no check goes through it.
_HARMLESS_WORDS = (
    "T_destination bfloat16 call_super_init compile cpu cuda double dump_patches extra_repr float "
    "forward half ipu mtia share_memory to_empty training type xpu "
)
_HARMLESS = frozenset(_HARMLESS_WORDS.split())
_OWN = ("self", "ctx")  # of a module, and of a torch.autograd.Function
_SETTABLE = frozenset({"data", "grad", "requires_grad", "training"})

INTERPRETER, PATCH = "static.interpreter", "patch.outside"
Fault = tuple[int, str, str, str]  # line, code, name, sentence


def check_language(module: ast.Module, where: SourceMap) -> Iterator[Finding]:
    """Yield `static.import`, `static.interpreter` and `patch.outside`, each line once."""
    statements = [n for n in ast.walk(module) if isinstance(n, ast.Import | ast.ImportFrom)]
    items = [item for statement in statements for item in imports(statement)]
    yield from _imports(items, where)
    walker = _Walker(_imported(items))
    try:
        walker.visit(module)
    except RecursionError:
        walker.faults.append((1, INTERPRETER, "", "The source is nested too deeply to be read."))
    told: set[int] = set()
    for line, code, name, text in walker.faults:
        if line not in told:
            told.add(line)
            yield finding(code, text, {"name": name}, place=where.place_of_line(line))


def _imports(items: Iterable[Import], where: SourceMap) -> Iterator[Finding]:
    for item in items:
        name = _needed(item)
        if is_refused(item):
            place = where.place_of_line(item.line)
            text = f"The import of {name!r} is not allowed."
            yield finding("static.import", text, {"import": name}, place=place)


def is_refused(item: Import) -> bool:
    """Tell whether a block may not import this."""
    return bool(item.bound == "*" or _refused(item.module) or _refused(_needed(item)))


def _needed(item: Import) -> str:
    return item.module if item.is_plain else item.target


def _imported(items: Iterable[Import]) -> dict[str, str]:
    """Return what the module's imports bind, nested ones too, with their dotted targets."""
    # A refused import is told itself.
    return {item.bound: item.target for item in items if not _refused(item.target)}


@cache
def _refused(dotted: str) -> str:
    """Return why a block may not use what a dotted name stands for, or ""."""
    first, *rest = dotted.split(".")
    if first not in _MODULES:
        return f"{first!r} is no module that a block may use"
    found, path = sys.modules.get(first), first
    for part in rest:
        path = f"{path}.{part}"
        if part.startswith("_") and part not in _READABLE:
            return f"{path!r} is private"
        if path in _MEMBERS or (part.startswith(_SET) and part not in _SETS_LOCALLY):
            return f"{path!r} reaches beyond the block"
        found = _member(found, part)
        if isinstance(found, ModuleType) and not _is_open(found.__name__):
            return f"{path!r} is no module that a block may use"
    return ""


def _member(found: Any, part: str) -> Any:
    """Return a member without running anything that a module would load lazily."""
    if isinstance(found, ModuleType):
        return vars(found)[part] if part in vars(found) else _submodule(found, part)
    if isinstance(found, type):
        return getattr(found, part, None)
    # Of what is not loaded only the names are known.
    return ModuleType(part) if part in sys.stdlib_module_names | {"torch"} else None


def _submodule(package: ModuleType, part: str) -> ModuleType | None:
    name = f"{package.__name__}.{part}"
    try:
        known = name in sys.modules or find_spec(name) is not None
    except (ImportError, ValueError):  # not a package
        return None
    return sys.modules.get(name, ModuleType(name)) if known else None


def _is_open(module: str) -> bool:
    return module in _MODULES or f"{module}.".startswith(_FAMILIES)


@cache
def _module_names() -> frozenset[str]:
    """Return the names of `nn.Module` that the checks go through, its own attributes too."""
    names = {*dir(nn.Module), *vars(nn.Module())}
    return frozenset(name for name in names if not _is_special(name)) - _HARMLESS


@cache
def _guarded_names() -> frozenset[str]:
    """Return the names in the classes of torch: a store into one of them could be a patch."""
    classes = [kind for kind in vars(nn).values() if isinstance(kind, type)]
    classes += [Tensor, torch.autograd.Function, torch.Generator]
    return frozenset(name for kind in classes for name in dir(kind)) - _SETTABLE


@cache
def _hidden_names() -> frozenset[str]:
    """Return what torch keeps to itself in modules and tensors."""
    names = {*_module_names(), *dir(Tensor)}
    return frozenset(name for name in names if name.startswith("_") and not _is_special(name))


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _hidden(name: str) -> bool:
    """Tell whether reading an attribute of this name leads to where a block has no business."""
    if _is_special(name):
        return name not in _READABLE
    return name in _ATTRIBUTES or name in _hidden_names()


@dataclass
class _Walker(ast.NodeVisitor):
    """Goes through a module with the names that the functions around a place bind."""

    imported: Mapping[str, str]
    faults: list[Fault] = field(default_factory=list)
    own: list[set[str]] = field(default_factory=list)
    in_class: bool = False  # directly in a class's body
    in_method: bool = False  # in a function that stands there and takes `self` or `ctx`

    def _say(self, node: ast.AST, code: str, name: str, text: str) -> None:
        self.faults.append((getattr(node, "lineno", 1), code, name, text))

    def _reach(self, node: ast.AST, name: str) -> None:
        self._say(node, INTERPRETER, name, f"{name!r} reaches for the interpreter.")

    def _target(self, node: ast.expr) -> str:
        """Return the dotted target of a chain of attributes that begins at an import, or ""."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or self._is_own(node.id):
            return ""
        target = self.imported.get(node.id, "")
        return ".".join([target, *reversed(parts)]) if target else ""

    # --- names and attributes

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in _BUILTINS | _BY_NAME and not self._is_own(node.id):
            self._reach(node, node.id)
        if isinstance(node.ctx, ast.Load) and (target := self._target(node)):
            self._as_value(node, target)

    def _is_own(self, name: str) -> bool:
        return any(name in names for names in self.own)

    def _as_value(self, node: ast.expr, target: str) -> None:
        """Check a use of something imported that is no further chain."""
        if reason := _refused(target):
            self._say(node, INTERPRETER, target, f"{reason}.")
        elif _is_module(target):
            text = f"The module {target!r} is used as a value; use its members by name."
            self._say(node, INTERPRETER, target, text)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        target = self._target(node)
        if not isinstance(node.ctx, ast.Load):
            self._store(node, target)
        if _hidden(node.attr):
            self._reach(node, node.attr)
        if target:
            self._as_value(node, target)
        else:
            self.visit(node.value)

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        """`case Kind(name=value)` reads an attribute."""
        for name in filter(_hidden, node.kwd_attrs):
            self._reach(node, name)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Names of the interpreter as texts: a first step on the way to them."""
        text = node.value
        if not isinstance(text, str) or "_" not in text or not text.isidentifier():
            return
        if text in _ATTRIBUTES | _BUILTINS or (_is_special(text) and _hidden(text)):
            self._reach(node, text)

    # --- stores

    def _store(self, node: ast.Attribute, target: str) -> None:
        own = self.in_method and isinstance(node.value, ast.Name) and node.value.id in _OWN
        guarded = _module_names() if own else _guarded_names()
        if target or node.attr in guarded or _is_special(node.attr):
            what = target or ast.unparse(node)
            text = f"A store into {what!r} can change what is not the block's."
            self._say(node, PATCH, what, text)

    def visit_Call(self, node: ast.Call) -> None:
        match node:
            case ast.Call(func=ast.Name(id=name), args=[of, named, *rest]) if name in _BY_NAME:
                self._by_name(node, name, of, named)
                for part in [*rest, *node.keywords]:
                    self.visit(part)
            case ast.Call(func=ast.Name(id="type"), args=[_, _, *_]):
                text = "A class is made at run time; write it as a class."
                self._say(node, PATCH, "type", text)
            case _:
                self.generic_visit(node)

    def _by_name(self, node: ast.Call, name: str, of: ast.expr, named: ast.expr) -> None:
        """Check getattr(of, "name") and the like as the attribute that it is."""
        match named:
            case ast.Constant(value=str(text)) if text.isidentifier():
                context = ast.Load() if name in ("getattr", "hasattr") else ast.Store()
                access = ast.Attribute(of, text, context)
                self.visit(ast.copy_location(access, node))
                return
            case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]) if (
                isinstance(of, ast.Name) and of.id == "self" and _is_free(text)
            ):
                self.visit(named)
                return
        text = f"{name} with a name that is only known at run time."
        self._say(node, INTERPRETER, name, text)

    # --- classes

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if node.keywords:
            text = f"{node.name} has a metaclass or other arguments."
            self._say(node, PATCH, node.name, text)
        for base in node.bases:
            if _is_tensor_like(self._target(base)):
                self._say(node, PATCH, node.name, f"{node.name} takes the place of a tensor.")
        for name, line in _defined(node.body):
            if name in _module_names() or (_is_special(name) and name not in _DEFINABLE):
                text = f"{node.name}.{name} takes the place of what the checks go through."
                self.faults.append((line, PATCH, name, text))
        for part in [*node.decorator_list, *node.bases, *node.keywords]:
            self.visit(part)
        outer, self.in_class = self.in_class, True
        for part in node.body:
            self.visit(part)
        self.in_class = outer

    # --- scopes

    def _inside(self, node: ast.AST, names: set[str]) -> None:
        self.own.append(names)
        self.visit(node)
        self.own.pop()

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        arguments = node.args
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        parameters += [extra for extra in (arguments.vararg, arguments.kwarg) if extra]
        outside: list[ast.AST | None] = [*arguments.defaults, *arguments.kw_defaults]
        body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else [*node.body]
        if not isinstance(node, ast.Lambda):
            outside += [*node.decorator_list, node.returns]
            outside += [parameter.annotation for parameter in parameters]
        for part in outside:
            if part is not None:
                self.visit(part)
        names = {parameter.arg for parameter in parameters} | _own_names(body)
        before = self.in_class, self.in_method
        starts = bool(arguments.args and arguments.args[0].arg in _OWN)
        self.in_method = self.in_class and starts and not arguments.posonlyargs
        self.in_class = False
        for part in body:
            self._inside(part, names)
        self.in_class, self.in_method = before

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _visit_function  # noqa: N815

    def _visit_comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    ) -> None:
        first, *others = node.generators
        self.visit(first.iter)  # evaluated outside
        targets = [generator.target for generator in node.generators]
        names = {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        for part in [first.target, *first.ifs, *others, *results]:
            self._inside(part, names)

    visit_ListComp = visit_SetComp = visit_DictComp = _visit_comprehension  # noqa: N815
    visit_GeneratorExp = _visit_comprehension  # noqa: N815


def _own_names(body: Iterable[ast.AST]) -> set[str]:
    """Return the names that a function's own statements make its locals, on the safe side.

    Not those that an import binds, nor what is bound in a comprehension, a class or a function
    inside, nor those that it declares to be another scope's.
    """
    names: set[str] = set()
    others: set[str] = set()
    queue = list(body)
    while queue:
        node = queue.pop()
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.Global() | ast.Nonlocal():
                others |= set(node.names)
            case ast.Import() | ast.ImportFrom():
                others |= {item.bound for item in imports(node)}
            case (
                ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Lambda()
                | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp()
            ):  # fmt: skip
                continue
        queue += ast.iter_child_nodes(node)
    return names - others


def _defined(body: Iterable[ast.stmt]) -> Iterator[tuple[str, int]]:
    """Yield what a class's body binds, wherever in it, with its line."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement.name, statement.lineno
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                yield node.id, node.lineno
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield node.name, node.lineno


@cache
def _is_module(dotted: str) -> bool:
    first, *rest = dotted.split(".")
    found: Any = sys.modules.get(first, ModuleType(first))
    for part in rest:
        found = _member(found, part)
    return isinstance(found, ModuleType)


@cache
def _is_tensor_like(dotted: str) -> bool:
    """Tell whether a class could answer in the place of a tensor: its subclasses may too."""
    first, *rest = dotted.split(".")
    found: Any = sys.modules.get(first)
    for part in rest:
        found = _member(found, part)
    return isinstance(found, type) and (
        issubclass(found, type | Tensor) or hasattr(found, "__torch_function__")
    )


def _is_free(prefix: str) -> bool:
    """Tell whether no guarded name begins like this, so that none can be made of it."""
    if not prefix or prefix.startswith("_"):
        return False
    return not any(name.startswith(prefix) for name in _module_names() | _ATTRIBUTES)
