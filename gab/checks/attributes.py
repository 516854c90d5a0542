"""Names that a block may use: functions of Python, special names, attributes of values.

`never` are names that lead from an ordinary value to frames, code, modules or memory, collected
from their classes as they are installed; no definition of the block's own opens them.
"""

from __future__ import annotations

import builtins
import types
from collections import Counter, OrderedDict, deque
from functools import cache, partial

import torch
from torch import Tensor, nn


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


# --- builtins and special names

BUILTINS = words(
    "abs all any ascii bin bool bytearray bytes callable chr classmethod complex dict divmod "
    "enumerate filter float format frozenset hash hex id int isinstance issubclass iter len list "
    "map max min next object oct ord pow print property range repr reversed round set slice "
    "sorted staticmethod str sum super tuple type zip True False None Ellipsis NotImplemented"
) | {
    name
    for name, found in vars(builtins).items()
    if isinstance(found, type) and issubclass(found, BaseException)
}
BY_NAME = frozenset({"getattr", "setattr", "delattr", "hasattr"})
"""Only called, and with a name that stands there, may these be used."""
READABLE_SPECIAL = words("__init__ __name__ __class__ __doc__ __len__ __version__ __repr__")
"""The names between double underscores that a block may read as attributes."""
DEFINABLE_SPECIAL = words(
    "__init__ __repr__ __str__ __len__ __iter__ __next__ __getitem__ __setitem__ __contains__ "
    "__eq__ __hash__ __bool__ __post_init__ __slots__ __all__ __version__ __author__ "
    "__doc__"
)
"""Those that it may define."""
NAMED_SPECIAL = DEFINABLE_SPECIAL | {"__name__", "__class__", "__debug__", "__file__"}
"""Those that it may use as names."""


def is_special(name: str) -> bool:
    """Tell whether a name stands between double underscores."""
    return name.startswith("__") and name.endswith("__")


# --- attributes

_INTERPRETER = (
    types.FrameType, types.CodeType, types.TracebackType, types.GeneratorType, types.CoroutineType,
    types.AsyncGeneratorType, types.FunctionType, types.MethodType, types.ModuleType,
)  # fmt: skip
_BEYOND = words(
    # from classes, exceptions, tensors and layers to what is not theirs
    "mro obj throw func_globals as_subclass numpy ctypes data_ptr storage untyped_storage "
    "typed_storage share_memory_ grad_fn next_functions compile define format_map "
    # modules that reach the machine, and private ways to modules and frames
    "sys os builtins importlib inspect gc subprocess socket pickle marshal linecache traceback "
    "tempfile shutil pathlib multiprocessing threading posix _module _evaluate _eval_type "
    "_getframe _sys _os _types _thread _io _imp _warnings"
)
FOREIGN = words(
    "environ environb getenv putenv system popen Popen fork forkpty execv execve spawnv kill "
    "killpg getpid getppid listdir scandir unlink rmdir rmtree chdir mkdir makedirs fdopen getcwd "
    "argv stdin stdout stderr exc_info settrace setprofile currentframe getmodule getsource "
    "import_module reload find_spec get_objects get_referrers get_referents create_connection "
    "check_output check_call CDLL path_hooks meta_path handlers"
)
"""Names of modules that reach the machine: a value has them only if the block defines them."""
_PLAIN = (
    str, bytes, bytearray, int, float, complex, list, tuple, dict, set, frozenset, range, slice,
    deque, OrderedDict, Counter, property, partial, Exception, type(_ for _ in ()),
)  # fmt: skip


@cache
def never() -> frozenset[str]:
    """Return the names of attributes that no block may read, whatever it defines itself."""
    interpreter = {name for kind in _INTERPRETER for name in dir(kind) if not is_special(name)}
    plain = {name for kind in _PLAIN[:-1] for name in dir(kind)}
    return frozenset(interpreter - plain - {"close", "send"}) | _BEYOND | hidden_names()


@cache
def module_names() -> frozenset[str]:
    """Return the names of `nn.Module` that the checks go through, its own attributes too."""
    names = {*dir(nn.Module), *vars(nn.Module())}
    return frozenset(name for name in names if not is_special(name)) - _HARMLESS


@cache
def guarded_names() -> frozenset[str]:
    """Return the names in the classes of torch: a store into one of them could be a patch."""
    classes = [kind for kind in vars(nn).values() if isinstance(kind, type)]
    classes += [Tensor, torch.autograd.Function, torch.Generator]
    return frozenset(name for kind in classes for name in dir(kind)) - _SETTABLE


@cache
def hidden_names() -> frozenset[str]:
    """Return what torch keeps to itself in modules and tensors."""
    names = {*module_names(), *dir(Tensor)}
    return frozenset(n for n in names if n.startswith("_") and not is_special(n))


# What `nn.Module` has and a block may still define, since no check goes through it.
_HARMLESS = words(
    "T_destination bfloat16 call_super_init compile cpu cuda double dump_patches extra_repr float "
    "forward half ipu mtia share_memory to_empty training type xpu"
)
_SETTABLE = frozenset({"data", "grad", "requires_grad", "training"})
