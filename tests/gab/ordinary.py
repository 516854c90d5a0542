"""Ordinary Python of honest blocks, one construct at a time: the language must allow each."""

HEAD = """
from __future__ import annotations
import math
import warnings
from abc import ABC, abstractmethod
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum, auto
from functools import cached_property, lru_cache, partial
from typing import (
    Annotated, Any, Generic, Literal, NamedTuple, Optional, Protocol, TypeVar, cast, final,
    runtime_checkable,
)
import torch
import torch.nn.functional as F
from torch import Tensor, nn
"""

# name -> lines of a module; some assert what they compute
ORDINARY = {
    "frozen dataclass": """
@dataclass(frozen=True)
class C:
    width: int = 4
    names: tuple[str, ...] = field(default_factory=tuple)
c = replace(C(), width=8)
assert c.width == 8 and asdict(c)['width'] == 8 and [f.name for f in fields(c)][0] == 'width'
""",
    "postponed annotations": """
class S(NamedTuple):
    a: 'Tensor'
    b: Optional['S'] = None
S(1)._replace(a=2)._asdict()
""",
    "annotated shapes": """
def f(x: Annotated[Tensor, 'batch time width'], how: Literal['input', 'open'] = 'open') -> 'Tensor':
    return x
""",
    "namedtuple": """
S = namedtuple('S', 'keys_seen, values_seen')
class T(namedtuple('T', ['one', 'two'])):
    pass
assert S(1, 2).keys_seen == 1 and T(1, 2).two == 2
""",
    "enum": """
class K(Enum):
    FULL = auto()
    LOCAL = 'local'
assert K('local') is K.LOCAL and K.FULL.name == 'FULL' and K['FULL'].value
""",
    "text enum": """
class K(str, Enum):
    A = 'a'
assert K('a') is K.A
""",
    "protocol": """
@runtime_checkable
class P(Protocol):
    def mix(self, x: Tensor) -> Tensor: ...
""",
    "generic": """
T = TypeVar('T', bound='nn.Module')
class G(Generic[T]):
    def get(self, x: T) -> T:
        return x
G().get(1)
""",
    "abstract": """
class A(nn.Module, ABC):
    @abstractmethod
    def mix(self, x): ...
class B(A):
    def mix(self, x):
        return x
B()
""",
    "activation table": """
ACT = {'gelu': F.gelu, 'silu': F.silu, 'relu': nn.functional.relu}
act = ACT['silu']
act(torch.ones(1))
""",
    "activation by name": """
def act(name):
    return {'gelu': nn.GELU, 'silu': nn.SiLU}[name]()
act('gelu')
""",
    "aliases": """
relu = F.relu
softmax = torch.softmax
Norm = nn.RMSNorm
class N(Norm):
    pass
N(4)(relu(torch.ones(4)))
""",
    "norm of this version": """
Norm = nn.RMSNorm if hasattr(nn, 'RMSNorm') else nn.LayerNorm
Norm(4)
""",
    "base of this version": """
Base = nn.RMSNorm if hasattr(nn, 'RMSNorm') else nn.LayerNorm
class Norm(Base):
    class Options(NamedTuple):
        width: int = 4
class More(Norm.Options):
    pass
Norm(4)
""",
    "stacked decorators": """
@final
@dataclass(eq=True, frozen=True)
class Size:
    n: int = 1
""",
    "optional import": """
try:
    from flash_attn import flash_attn_func
except ImportError:
    flash_attn_func = None
""",
    "raise from": """
try:
    1 / 0
except ZeroDivisionError as error:
    try:
        raise ValueError(f'no: {error}') from error
    except ValueError:
        pass
""",
    "shown exception": """
try:
    1 / 0
except Exception as e:
    warnings.warn(str(e))
    print(e)
""",
    "format": "'{} of {:.2f} and {name:>4}'.format(1, 2.0, name='x')",
    "percent": "'%s %d' % ('a', 1)",
    "f-string": """
x = torch.ones(2)
f'{x.shape[0]} {x.dtype!r:>20}'
""",
    "type name": """
assert type(1).__name__ == 'int'
assert type(1) is int and type(1) == int
""",
    "is a class": "assert isinstance(nn.Linear, type) and issubclass(nn.Linear, nn.Module)",
    "own class name": """
class A(nn.Module):
    SCALE = 2
    def extra_repr(self):
        return f'{self.__class__.__name__} {type(self).SCALE}'
repr(A())
""",
    "autograd": """
class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.mark_non_differentiable()
        ctx.shape = x.shape
        return x.round()
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g if ctx.needs_input_grad[0] else None
Straight.apply(torch.ones(2, requires_grad=True)).sum().backward()
""",
    "autograd with setup": """
class Sq(torch.autograd.Function):
    generate_vmap_rule = True
    @staticmethod
    def forward(x):
        return x * x
    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return 2 * g * x
Sq.apply(torch.ones(1))
""",
    "once differentiable": """
from torch.autograd.function import once_differentiable
class I(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()
    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        return g
I.apply(torch.ones(1))
""",
    "amp": """
with torch.autocast(device_type='cpu'), torch.amp.autocast('cpu', enabled=False):
    torch.is_autocast_enabled('cpu'); torch.get_autocast_dtype('cpu')
""",
    "custom_fwd": """
class A(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type='cpu')
    def forward(ctx, x):
        return x.clone()
    @staticmethod
    @torch.amp.custom_bwd(device_type='cpu')
    def backward(ctx, g):
        return g
""",
    "checkpoint": """
from torch.utils.checkpoint import checkpoint
import torch.utils.checkpoint as cp
checkpoint(torch.sin, torch.ones(1), use_reentrant=False)
cp.checkpoint(torch.sin, torch.ones(1), use_reentrant=False)
torch.utils.checkpoint.checkpoint(torch.sin, torch.ones(1), use_reentrant=False)
""",
    "sdpa kernel": """
from torch.nn.attention import SDPBackend, sdpa_kernel
q = torch.ones(1, 1, 2, 4)
with sdpa_kernel([SDPBackend.MATH]):
    F.scaled_dot_product_attention(q, q, q, is_causal=True)
""",
    "parametrised": """
from torch.nn.utils import parametrizations, parametrize
class Sym(nn.Module):
    def forward(self, w):
        return w.triu() + w.triu(1).transpose(-1, -2)
l = parametrizations.weight_norm(nn.Linear(2, 2))
parametrize.register_parametrization(nn.Linear(2, 2), 'weight', Sym())
l.parametrizations.weight.original0
""",
    "spectral norm": "nn.utils.spectral_norm(nn.Linear(2, 2))(torch.ones(1, 2))",
    "functional call": """
from torch.func import functional_call, vmap, grad
l = nn.Linear(2, 2)
functional_call(l, dict(l.named_parameters()), (torch.ones(1, 2),))
vmap(grad(lambda x: (x ** 2).sum()))(torch.ones(2, 2))
torch.vmap(torch.sin)(torch.ones(2))
""",
    "script": """
@torch.jit.script
def f(x: Tensor, n: int) -> Tensor:
    return x * n
f(torch.ones(1), 2)
""",
    "cached": """
@lru_cache(maxsize=None)
def table(n: int):
    return torch.arange(n)
table(3); table.cache_clear()
""",
    "cached property": """
class A:
    def __init__(self): self.n = 3
    @cached_property
    def twice(self): return 2 * self.n
    @property
    def thrice(self): return 3 * self.n
    @thrice.setter
    def thrice(self, v): self.n = v // 3
a = A(); a.thrice = 9
assert a.twice == 6
""",
    "generator": """
def chunks(x, n):
    for i in range(0, x.size(1), n):
        yield x[:, i:i + n]
list(chunks(torch.ones(1, 4), 2))
""",
    "buffers by name": """
class R(nn.Module):
    def __init__(self):
        super().__init__()
        for i, d in enumerate((1, 2)):
            self.register_buffer(f'decay_{i}', torch.ones(d), persistent=False)
            self.add_module(f'conv{i}', nn.Linear(d, d))
            setattr(self, f'gate{i}', nn.Linear(d, d))
    def run(self, m): return m.decay_0 + m.gate1.weight + getattr(self, 'conv1').bias
r = R(); r.run(r)
""",
    "module containers": """
class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.ParameterDict({'q': nn.Parameter(torch.ones(1))})
        self.p = nn.ParameterList([nn.Parameter(torch.ones(1))])
        self.m = nn.ModuleDict({'a': nn.Identity()})
    def go(self):
        return self.w['q'] + self.m['a'](self.p[0])
M().go()
""",
    "init": """
class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(2, 2)
        self.apply(self._init_weights)
        self.reset_parameters()
    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if getattr(module, 'bias', None) is not None:
                nn.init.zeros_(module.bias)
            if hasattr(module, 'NANOGPT_SCALE_INIT') or getattr(module.weight, '_no_reinit', False):
                module.weight.data.mul_(0.5)
            module.weight._no_weight_decay = True
    @torch.no_grad()
    def reset_parameters(self):
        for name, p in self.named_parameters():
            if name.endswith('weight') and p.dim() > 1:
                nn.init.xavier_uniform_(p, gain=nn.init.calculate_gain('relu'))
M()
""",
    "hooks": """
l = nn.Linear(2, 2)
l.weight.register_hook(lambda g: g.clamp(-1, 1))
l.register_forward_hook(lambda m, i, o: o)
""",
    "numbers": """
torch.finfo(torch.float32).eps + torch.finfo(torch.float32).max + torch.iinfo(torch.int32).max
x = torch.ones(2).max(dim=0)
x.values, x.indices
torch.topk(torch.ones(3), 2).values
m = torch.linalg.svd(torch.eye(2))
m.U, m.S, m.Vh
torch.linalg.qr(torch.eye(2)).Q
""",
    "complex": """
z = torch.view_as_complex(torch.ones(2, 2))
z.real, z.imag, z.angle(), z.conj(), z.abs()
torch.fft.irfft(torch.fft.rfft(torch.ones(4), n=8), n=8)
(1j).imag
""",
    "rnn": """
from torch.nn.utils.rnn import pad_sequence, pack_padded_sequence
p = pack_padded_sequence(torch.ones(1, 2, 3), torch.tensor([2]), batch_first=True)
p.data, p.batch_sizes
l = nn.LSTM(3, 4, batch_first=True)
l.hidden_size, l.weight_ih_l0, l.flatten_parameters()
""",
    "distributions": """
from torch.distributions import Normal, kl_divergence
d = Normal(0.0, 1.0)
d.rsample(); d.log_prob(torch.ones(1)); d.loc, d.scale
torch.distributions.Categorical(logits=torch.ones(3)).probs
""",
    "layers": """
l = nn.Linear(2, 3)
l.in_features, l.out_features, l.weight.device, l.bias.requires_grad
c = nn.Conv1d(2, 2, 3, groups=2, padding=2)
c.kernel_size, c.stride, c.dilation, c.groups, c.padding_mode
m = nn.MultiheadAttention(4, 2)
m.embed_dim, m.num_heads, m.head_dim, m.in_proj_weight, m.out_proj
nn.LayerNorm(4).normalized_shape, nn.Embedding(2, 2).num_embeddings, nn.Dropout(0.1).p
""",
    "data": """
d = OrderedDict(); d.setdefault('a', []).append(1); d.move_to_end('a')
c = Counter('aab').most_common(1)
q = deque(maxlen=2); q.appendleft(1)
x = defaultdict(list); x['a'].extend([1])
'a b'.split(), 'x'.upper().strip().replace('x', 'y'), 'a'.join(['b'])
""",
    "einops": """
from einops import einsum, rearrange, repeat, reduce, pack, unpack
from einops.layers.torch import Rearrange
rearrange(torch.ones(1, 2, 4), 'b t (h d) -> b h t d', h=2)
Rearrange('b t d -> b d t')(torch.ones(1, 2, 3))
""",
    "operator": """
import operator
from functools import reduce
from itertools import accumulate, chain, pairwise
reduce(operator.mul, [1, 2], 1)
sorted([(1, 2)], key=operator.itemgetter(1))
list(accumulate([1, 2], operator.add))
""",
    "match": """
match (1, 2):
    case (a, b) if a < b:
        pass
    case {'k': v, **rest}:
        pass
    case _:
        pass
""",
    "name of the module": "NAME = __name__",
    "sentinel": """
_MISSING = object()
def f(x=_MISSING): return x is _MISSING
f()
""",
    "global": """
CACHE = {}
def f(n):
    global CACHE
    CACHE = {n: n}
    return CACHE
f(1)
""",
    "nested functions": """
def outer():
    n = 0
    def inner():
        nonlocal n
        n += 1
        return n
    return inner
outer()()
""",
    "super of two": """
class A(nn.Module):
    def forward(self, x): return x
class B(A):
    def __init__(self): super(B, self).__init__()
    def forward(self, x): return super().forward(x) + A.forward(self, x)
B()(1)
""",
    "inherited layer": """
class CausalConv1d(nn.Conv1d):
    def __init__(self, *a, **k):
        super().__init__(*a, **k)
        self.left = (self.kernel_size[0] - 1) * self.dilation[0]
    def forward(self, input):
        return super().forward(F.pad(input, (self.left, 0)))
CausalConv1d(2, 2, 3)(torch.ones(1, 2, 4))
""",
    "assertions": """
assert 1, 'no'
if not torch.is_tensor(torch.ones(1)):
    raise TypeError('x')
print('ok', flush=True)
""",
    "version": """
major = int(torch.__version__.split('.')[0])
assert torch.__version__ >= '1' or True
""",
    "cuda": """
device = 'cuda' if torch.cuda.is_available() else 'cpu'
if torch.cuda.is_available() and torch.cuda.get_device_capability()[0] >= 8:
    torch.cuda.synchronize()
""",
    "generator of random numbers": """
g = torch.Generator().manual_seed(3)
torch.randn(2, generator=g)
""",
    "typing of callables": """
from collections.abc import Callable, Sequence, Iterator
def f(g: Callable[[Tensor], Tensor], xs: Sequence[int] = ()) -> Iterator[int]:
    yield from xs
NormClass = Callable[..., nn.Module]
""",
    "cast": """
x = cast('Tensor', torch.ones(1))
x.sum()
""",
    "slots": """
class S:
    __slots__ = ('alpha_one', 'beta_two')
    def __init__(self): self.alpha_one = 1
s = S()
s.alpha_one
""",
    "deepcopy": """
import copy
layers = nn.ModuleList(copy.deepcopy(nn.Linear(2, 2)) for _ in range(2))
len(layers)
""",
    "compile marks": """
@torch.compiler.disable
def f(x): return x
assert torch.compiler.is_compiling() is False
""",
    "nn.Buffer": """
class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.b = nn.Buffer(torch.ones(1))
M().b
""",
    "low rank": """
u, s, v = torch.svd_lowrank(torch.eye(3))
u @ s.diag_embed() @ v.mT
""",
}
