"""What of other modules a block may use: for each module that it may import, which members.

A member that is not listed here, a module inside a module, everything private, and whatever
leads from a class to frames or memory are refused.  What a module does not have passes: it fails
by itself, with Python's own words.  docs/block-language.md says the same to authors.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import torch

from genesys_engine.gab.checks.attributes import BUILTINS, READABLE_SPECIAL, never, words
from genesys_engine.gab.missing import SHOWN, Missing

# Words, or rules in angle brackets (`_RULES`).
_TYPES = (
    "Any AnyStr Annotated Callable ClassVar Concatenate Final Generic Literal LiteralString "
    "Mapping MutableMapping Sequence MutableSequence Iterable Iterator Generator Collection "
    "Container Hashable Sized Reversible NamedTuple Never NewType NoReturn NotRequired Optional "
    "ParamSpec Protocol Required Self Set FrozenSet AbstractSet SupportsFloat SupportsInt "
    "SupportsIndex SupportsAbs SupportsRound Text Tuple List Dict DefaultDict OrderedDict Counter "
    "Deque ChainMap Type TypeAlias TypeAliasType TypeVar TypeVarTuple TypedDict TypeGuard TypeIs "
    "Union Unpack ReadOnly TYPE_CHECKING assert_never cast get_args get_origin overload override "
    "final runtime_checkable"
)
_PLACES = "Parameter Buffer UninitializedParameter UninitializedBuffer"
_EINOPS = "rearrange repeat reduce einsum pack unpack parse_shape EinopsError"
_AMP = "autocast custom_fwd custom_bwd is_autocast_available"
_TORCH = (
    "Tensor Size device dtype layout memory_format finfo iinfo Generator Stream Event FloatTensor "
    "DoubleTensor HalfTensor BFloat16Tensor IntTensor LongTensor ShortTensor BoolTensor "
    "ByteTensor no_grad enable_grad inference_mode set_grad_enabled is_grad_enabled "
    "is_inference_mode_enabled autocast is_autocast_enabled is_autocast_cpu_enabled "
    "get_autocast_dtype get_autocast_cpu_dtype get_autocast_gpu_dtype is_tensor get_default_dtype "
    "get_default_device broadcast_shapes lu pca_lowrank svd_lowrank unique lobpcg unravel_index "
    "vmap cond while_loop sym_not sym_float sym_int sym_max sym_min sym_sum sym_ite compile "
    "SymInt SymFloat SymBool are_deterministic_algorithms_enabled get_float32_matmul_precision "
    "get_num_threads typename"
)
_CUDA = (
    "is_available is_initialized device_count current_device device is_bf16_supported Stream Event "
    "get_device_capability get_device_name get_device_properties synchronize empty_cache stream "
    "current_stream default_stream memory_allocated max_memory_allocated amp"
)
MODULES = {
    "__future__": "<all>",
    "abc": "ABC abstractmethod abstractproperty abstractclassmethod abstractstaticmethod",
    "collections": "namedtuple OrderedDict defaultdict deque Counter ChainMap abc",
    "collections.abc": "<exported>",
    "copy": "copy deepcopy",
    "dataclasses": "dataclass field fields asdict astuple replace is_dataclass KW_ONLY InitVar "
    "MISSING FrozenInstanceError",
    "einops": f"{_EINOPS} layers einops",
    "einops.einops": _EINOPS,
    "einops.layers": "torch",
    "einops.layers.torch": "Rearrange Reduce EinMix Flatten",
    "enum": "Enum IntEnum StrEnum Flag IntFlag auto unique member nonmember",
    "functools": "partial partialmethod reduce lru_cache cache cached_property cmp_to_key "
    "total_ordering",
    "itertools": "<all>",
    "math": "<all>",
    "numbers": "Number Complex Real Rational Integral",
    "operator": "<exported>",
    "opt_einsum": "contract contract_path contract_expression",
    "typing": _TYPES,
    "typing_extensions": _TYPES,
    "warnings": "warn catch_warnings filterwarnings simplefilter",
    "xformers": "ops",
    "xformers.ops": "<exported> memory_efficient_attention LowerTriangularMask fmha",
    "xformers.ops.fmha": "<functions> <classes> attn_bias",
    "xformers.ops.fmha.attn_bias": "<classes>",
    "torch": f"<tensor-functions> <constants> {_TORCH} amp autograd compiler cuda distributions "
    "fft func functional jit linalg nn signal sparse special types utils version",
    "torch.amp": f"{_AMP} autocast_mode",
    "torch.amp.autocast_mode": _AMP,
    "torch.autograd": "Function Variable grad backward no_grad enable_grad set_grad_enabled "
    "inference_mode function",
    "torch.autograd.function": "Function FunctionCtx once_differentiable",
    "torch.compiler": "disable is_compiling is_dynamo_compiling is_exporting",
    "torch.cuda": _CUDA,
    "torch.cuda.amp": f"{_AMP} autocast_mode",
    "torch.cuda.amp.autocast_mode": _AMP,
    "torch.distributions": "<classes> kl_divergence kl <submodules>",
    "torch.fft": "<exported>",
    "torch.func": "grad grad_and_value vmap vjp jvp jacrev jacfwd hessian linearize functionalize "
    "functional_call stack_module_state",
    "torch.functional": "<exported>",
    "torch.jit": "script ignore export unused is_scripting is_tracing annotate Final",
    "torch.linalg": "<functions> LinAlgError",
    "torch.nn": f"<classes> {_PLACES} attention functional init modules parameter utils",
    "torch.nn.attention": "sdpa_kernel SDPBackend flex_attention bias varlen",
    "torch.nn.attention.bias": "causal_lower_right causal_upper_left CausalBias CausalVariant",
    "torch.nn.attention.flex_attention": "flex_attention create_block_mask create_mask BlockMask "
    "create_nested_block_mask and_masks or_masks noop_mask AuxRequest AuxOutput",
    "torch.nn.attention.varlen": "varlen_attn",
    "torch.nn.functional": "<functions>",
    "torch.nn.init": "<functions>",
    "torch.nn.modules": "<classes> <submodules>",
    "torch.nn.parameter": f"{_PLACES} is_lazy",
    "torch.nn.utils": "clip_grad_norm_ clip_grad_value_ parameters_to_vector vector_to_parameters "
    "weight_norm remove_weight_norm spectral_norm remove_spectral_norm skip_init rnn parametrize "
    "parametrizations",
    "torch.nn.utils.parametrizations": "orthogonal weight_norm spectral_norm",
    "torch.nn.utils.parametrize": "register_parametrization is_parametrized ParametrizationList "
    "remove_parametrizations",
    "torch.nn.utils.rnn": "PackedSequence pack_padded_sequence pad_packed_sequence pad_sequence "
    "pack_sequence unpad_sequence unpack_sequence invert_permutation",
    "torch.signal": "windows",
    "torch.signal.windows": "<exported>",
    "torch.sparse": "mm sum softmax log_softmax addmm sampled_addmm spdiags spsolve",
    "torch.special": "<exported>",
    "torch.types": "Number Device Tensor Size",
    "torch.utils": "checkpoint",
    "torch.utils.checkpoint": "checkpoint checkpoint_sequential",
    "torch.version": "<constants>",
}
# All below these is as they are.
_FAMILIES = {"torch.nn.modules.": "<classes>", "torch.distributions.": "<classes> kl_divergence"}
# What the rules would let in: values that wrap files or memory, calls by names that are texts.
_EXCEPT = words(
    "torch.from_file torch.frombuffer torch.to_dlpack torch.from_dlpack operator.attrgetter "
    "operator.methodcaller torch.nn.DataParallel torch.nn.modules.module.register_module"
)
DECORATORS = words(
    "dataclasses.dataclass functools.total_ordering enum.unique torch.compiler.disable "
    "typing.final typing.override typing.runtime_checkable typing_extensions.final "
    "typing_extensions.override typing_extensions.runtime_checkable"
)
"""Members that write into the class they are given: only above a class or function of the block."""

_CONSTANTS = (
    bool, int, float, complex, str, type(None), torch.dtype, torch.layout, torch.memory_format,
)  # fmt: skip


def _is_own_class(module: ModuleType, _name: str, found: Any) -> bool:
    package = ".".join(module.__name__.split(".")[:2])
    return isinstance(found, type) and found.__module__.startswith(package)


def _is_own_function(module: ModuleType, name: str, found: Any) -> bool:
    if isinstance(found, BuiltinFunctionType):
        return not name.startswith("has_torch")
    return isinstance(found, FunctionType) and found.__module__ == module.__name__


_RULES: dict[str, Callable[[ModuleType, str, Any], bool]] = {
    "<all>": lambda _module, _name, found: not isinstance(found, dict | list | set),
    "<classes>": _is_own_class,
    "<constants>": lambda _module, _name, found: isinstance(found, _CONSTANTS),
    "<exported>": lambda module, name, _found: name in vars(module).get("__all__", ()),
    "<functions>": _is_own_function,
    "<submodules>": lambda _module, _name, found: isinstance(found, ModuleType),
    "<tensor-functions>": lambda _module, name, _found: hasattr(torch._C._VariableFunctions, name),
}


def words_of(module: str) -> str:
    """Return which members of a module a block may use, "" if it may not use the module."""
    known = MODULES.get(module, "")
    return known or next((w for f, w in _FAMILIES.items() if module.startswith(f)), "")


@cache
def refused(dotted: str) -> str:
    """Return why a block may not use a dotted name, or ""."""
    first, *rest = dotted.split(".")
    if not words_of(first):
        return f"{first!r} is no module that a block may use"
    found: Any = sys.modules.get(first, ModuleType(first))
    path = first
    for part in rest:
        holder, path, found = found, f"{path}.{part}", member(found, part)
        if part.startswith("_") and part not in READABLE_SPECIAL:
            return f"{path!r} is private"
        if isinstance(holder, ModuleType):
            if reason := _refused_member(holder, part, found, path):
                return reason
        elif part in never() or part == "register":  # of an abstract class: a store into it
            return f"{path!r} leads out of the block"
    return ""


def usable(missing: Missing) -> Missing:
    """Return what is known of a missing name without proposals that a block may not use."""
    path = f"{missing.owner}." if words_of(missing.owner) else ""

    def allowed(name: str) -> bool:
        if "." in name:
            return not refused(name)
        if path:
            return not refused(f"{path}{name}")
        inside = missing.owner or name in missing.known or not hasattr(builtins, name)
        return bool(inside or name in BUILTINS) and name not in never()

    near = dict.fromkeys(filter(allowed, missing.nearest))
    elsewhere = [name for name in near if "." in name][:1]
    others = [name for name in near if "." not in name]
    return replace(missing, nearest=(*elsewhere, *others)[:SHOWN])


def _refused_member(holder: ModuleType, part: str, found: Any, path: str) -> str:
    """Return why a member of a module may not be used, or "" (what is not there fails itself)."""
    inside = isinstance(found, ModuleType)
    if inside and not words_of(found.__name__):
        return f"{path!r} is no module that a block may use"
    known = words_of(holder.__name__).split()
    if part in known or (found is None and part not in vars(holder)):
        return ""
    rules = [_RULES[word] for word in known if word.startswith("<")]
    if inside:
        rules = [_RULES["<submodules>"]] if "<submodules>" in known else []
    if path not in _EXCEPT and any(rule(holder, part, found) for rule in rules):
        return ""
    return f"{path!r} is not in the language of a block"


def member(found: Any, part: str) -> Any:
    """Return a member without running anything that a module would load lazily."""
    if isinstance(found, ModuleType):
        return vars(found)[part] if part in vars(found) else _submodule(found, part)
    if isinstance(found, type):
        return getattr(found, part, None)
    return None


def _submodule(package: ModuleType, part: str) -> ModuleType | None:
    name = f"{package.__name__}.{part}"
    try:
        known = name in sys.modules or find_spec(name) is not None
    except (ImportError, ValueError):  # not a package
        # Of what is not installed only the names are known.
        known = bool(words_of(name)) or part in sys.stdlib_module_names | {"torch"}
    return sys.modules.get(name, ModuleType(name)) if known else None
