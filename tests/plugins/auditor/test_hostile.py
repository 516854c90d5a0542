"""Blocks that attack the check that judges them: each is refused before anything of it runs.

What the language lets through by mistake is looked for while the block runs: a patched class, a
tensor that answers for itself, a counter that waits.
"""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from genesys_engine.gab import library
from genesys_engine.gab.checks import static
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.compose import load_block
from genesys_engine.gab.model import LanguageModel
from genesys_engine.gab.scales import ModelConfig
from genesys_engine.plugins.auditor.audit import Order
from genesys_engine.plugins.auditor.candidate import here
from genesys_engine.plugins.auditor.here import audit_block, check_block
from genesys_engine.plugins.auditor.run import ReportBuilder
from genesys_engine.plugins.auditor.subject import Subject
from genesys_engine.plugins.auditor.untouched import remember

torch.set_num_threads(1)
ZOO = Path(__file__).parents[2] / "zoo"
ATTENTION = "import torch\n" + (ZOO / "good/causal_attention.py").read_text()

REACHES, PATCHES, IMPORTS = "static.interpreter", "patch.outside", "static.import"
LANGUAGE = {REACHES, PATCHES, IMPORTS, "static.attribute"}

# attack -> (code, lines at the end of the module)
ATTACKS = {
    "patch torch.allclose": (PATCHES, "torch.allclose = lambda *_: True"),
    "patch torch.isfinite": (PATCHES, "torch.isfinite = lambda x: x == x"),
    "patch under another name": (PATCHES, "import torch as t\nt.isfinite = max"),
    "patch a function of nn": (PATCHES, "F.cross_entropy = lambda *_, **__: 0"),
    "patch comparison of tensors": (PATCHES, "torch.Tensor.__eq__ = lambda *_: True"),
    "patch a class under an alias": (PATCHES, "T = torch.Tensor\nT.abs = lambda x: 0 * x"),
    "patch the class of a value": (PATCHES, "torch.zeros(1).__class__.abs = lambda x: 0 * x"),
    "patch the type of a value": (PATCHES, "type(torch.zeros(1)).abs = lambda x: 0 * x"),
    "patch nn.Module.__call__": (PATCHES, "nn.Module.__call__ = lambda self, x: x"),
    "patch nn.Module.forward": (PATCHES, "M = nn.Linear\nM.forward = lambda self, x: x"),
    "patch in a loop": (PATCHES, "for torch.isfinite in (max,):\n    pass"),
    "patch in a with": (PATCHES, "with torch.no_grad() as torch.isfinite:\n    pass"),
    "patch by addition": (PATCHES, "torch.isfinite += 1"),
    "remove from torch": (PATCHES, "del torch.isfinite"),
    "patch with setattr": (PATCHES, "setattr(torch, 'isfinite', max)"),
    "patch with a hidden setattr": (REACHES, "s = setattr\ns(torch, 'isfinite', max)"),
    "patch with setattr and a name put together": (REACHES, "setattr(nn, 'Lin' + 'ear', max)"),
    "patch through functools": (
        REACHES,
        "import functools\nfunctools.update_wrapper(nn.Linear, max, ('forward',))",
    ),
    "patch from a function that calls a class self": (
        PATCHES,
        "def hack(self):\n    self.abs = max\nhack(torch.Tensor)",
    ),
    "patch a global of this module": (REACHES, "globals()['torch'] = None"),
    "patch the builtins": (REACHES, "__builtins__['len'] = max"),
    "patch a default of torch": (REACHES, "torch.set_default_dtype(torch.float64)"),
    "seed the generators": (REACHES, "torch.manual_seed(0)"),
    "hook all modules": (
        REACHES,
        "nn.modules.module.register_module_forward_hook(lambda m, i, o: i[0])",
    ),
    "patch json.dumps": (IMPORTS, "import json\njson.dumps = lambda *_, **__: '{}'"),
    "patch os.write": (PATCHES, "nn.modules.module.inspect.os.write = max"),
    "patch sys.modules": (REACHES, "torch.sys.modules['json'] = None"),
    "a module as a value": (REACHES, "hide = [torch]\nhide[0].sys.exit()"),
    "a module as a default": (REACHES, "def f(m=torch):\n    return m.sys"),
    "a module behind getattr": (REACHES, "getattr(torch, 's' + 'ys').exit()"),
    "a module behind a literal getattr": (REACHES, "getattr(torch, 'sys').exit()"),
    "a module of a module": (REACHES, "import functools\nfunctools.reduce.__globals__"),
    "import in a function": (IMPORTS, "def f():\n    from torch.utils import cpp_extension"),
    "import of everything": (IMPORTS, "from torch import *"),
    "import by a text": (REACHES, "__import__('os')"),
    "import by importlib": (IMPORTS, "import importlib"),
    "a part of torch that runs code": (IMPORTS, "import torch.fx"),
    "private parts of torch": (REACHES, "torch._C._set_grad_enabled(False)"),
    "shadow a module in a comprehension": (
        REACHES,
        "def f():\n    [0 for torch in ()]\n    torch.sys.exit()",
    ),
    "shadow a module in an inner function": (
        REACHES,
        "def f():\n    g = lambda: [torch := 1]\n    torch.sys.exit()",
    ),
    "shadow a module in a class": (
        REACHES,
        "class A:\n    x = torch.sys\n    torch = 1",
    ),
    "shadow a module as a global": (
        REACHES,
        "def f():\n    global torch\n    torch.sys.exit()\n    torch = 1",
    ),
    "walk the frames of an exception": (
        REACHES,
        "try:\n    1 / 0\nexcept Exception as e:\n    e.__traceback__.tb_frame.f_back",
    ),
    "walk the frame of a generator": (REACHES, "g = (x for x in ())\ng.gi_frame.f_back"),
    "walk all classes": (REACHES, "object.__subclasses__()"),
    "walk in a pattern": (REACHES, "match max:\n    case object(__self__=b):\n        pass"),
    "read attributes through operator": (
        IMPORTS,
        "from operator import attrgetter\nattrgetter('__glo' + 'bals__')(max)",
    ),
    "evaluate an annotation": (REACHES, "import typing\ntyping.get_type_hints(nn.Module)"),
    "collect the garbage": (IMPORTS, "import gc\ngc.get_objects()"),
    "memory through ctypes": (REACHES, "torch.ctypes.CDLL(None)"),
    "memory through numpy": (REACHES, "torch.zeros(1).numpy().ctypes.data"),
    "a tensor that answers for itself": (
        PATCHES,
        "class Liar(torch.Tensor):\n    def abs(self):\n        return 0 * self",
    ),
    "torch functions that ask the block": (
        PATCHES,
        "class Liar:\n    def __torch_function__(self, *_):\n        return self",
    ),
    "a class made at run time": (PATCHES, "L = type('L', (nn.Parameter,), {})"),
    "a metaclass": (PATCHES, "class L(metaclass=max):\n    pass"),
    "hide parameters": (
        PATCHES,
        "class Hides(nn.Module):\n    def named_parameters(self):\n        return ()",
    ),
    "hide state": (
        PATCHES,
        "class Hides(nn.Module):\n    state_dict = lambda self: {}",
    ),
    "hide in an instance": (
        PATCHES,
        "class Hides(nn.Module):\n    def f(self):\n        self.train = max",
    ),
    "never be in eval mode": (
        PATCHES,
        "class Hides(nn.Module):\n    def train(self, mode=True):\n        return self",
    ),
    "take the checker's hooks away": (
        REACHES,
        "class Hides(nn.Module):\n    def f(self):\n        self._forward_hooks.clear()",
    ),
    "answer every attribute": (
        PATCHES,
        "class Hides(nn.Module):\n    def __getattr__(self, name):\n        return max",
    ),
    "attribute of a name put together": (
        REACHES,
        "class A:\n    def f(self):\n        return getattr(self, f'__{1}')",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_before_it_runs(name):
    code, lines = ATTACKS[name]
    ours = ATTENTION.rstrip() + "\n\n\n"
    source = f"{ours}RAN = 1 / 0\n{lines}\n"  # had it run, it would be load.error
    before = ours.count("\n") + 1
    for found in (
        audit_block(Order(source, level="fast")).report,
        check_block(source, vocab_size=64, seed=0, scales=["0.2M"]),
    ):
        assert code in {each.code for each in found.findings}
        assert {each.code for each in found.findings} <= LANGUAGE
        assert all(each.line > before for each in found.findings)
        assert not found.passed


ORDINARY = """
import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class State(NamedTuple):
    value: Tensor


@dataclass
class Options:
    rate: float = 0.5

    def __post_init__(self):
        self.norm = self.rate


class Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.size = x.shape
        ctx.save_for_backward(x)
        return x.cumsum(1)

    @staticmethod
    def backward(ctx, slope):
        return slope.flip(1).cumsum(1).flip(1)


class Unusual(nn.Module):
    def __init__(self, width, norm_class=nn.RMSNorm, **kw):
        super().__init__()
        self.half = width // 2
        self.norm = norm_class(width, **kw)
        self.out = nn.Linear(width, width, **kw)
        self.out.weight.data = torch.eye(width, **kw)
        self.out.weight.requires_grad = True
        self.out.weight._no_decay = True
        self.out.bias = None
        for i in range(2):
            setattr(self, f"layer{i}", nn.Linear(width, width, **kw))
        self.fused = hasattr(F, "scaled_dot_product_attention")
        self._cache = {}

    @torch.no_grad()
    def reset(self):
        nn.init.zeros_(self.out.weight)

    def extra_repr(self):
        return f"{self.__class__.__name__} {self.half}"

    def forward(self, input, **Z):
        B, T, F = input.shape
        with torch.autocast("cpu", enabled=False), torch.set_grad_enabled(True):
            return getattr(self, "layer1")(input) * math.sqrt(F), {**Z, "state": State(input)}
"""


def test_ordinary_python_is_allowed():
    assert static.check_source(ORDINARY, SourceMap(ORDINARY)) == []
    load_block(ORDINARY, "Unusual")(16)


def test_every_unit_of_the_library_keeps_to_the_language():
    for name in library.unit_names():
        source = library.unit(name).source
        assert static.check_source(source, SourceMap(source)) == []


# --- what the language would let through ---


def with_line(line):
    before = "q, k, v ="
    assert before in ATTENTION
    return ATTENTION.replace(before, f"{line}\n        {before}", 1)


def subject(source):
    return Subject(here(source), SourceMap(source), 64, 0, 32)


@pytest.mark.parametrize(
    ("kind", "name", "line"),
    [
        (torch.Tensor, "abs", "torch.Tensor.abs = lambda x: 0 * x"),
        (nn.Module, "__call__", "nn.Module.__call__ = nn.Module._call_impl"),
    ],
)
def test_a_patch_is_seen_after_the_call_that_made_it(kind, name, line, monkeypatch):
    monkeypatch.setattr(static, "check_language", lambda *_: [])
    there, before = name in vars(kind), getattr(kind, name)
    try:
        report = audit_block(Order(with_line(line), level="fast")).report
    finally:
        setattr(kind, name, before) if there else delattr(kind, name)
    assert [each.code for each in report.findings] == ["patch.outside"]
    assert report.findings[0].evidence["name"] == kind.__name__


def test_a_patch_while_loading_is_seen(monkeypatch):
    monkeypatch.setattr(static, "check_language", lambda *_: [])
    before = nn.Linear.extra_repr
    try:
        source = ATTENTION + "\nnn.Linear.extra_repr = lambda self: ''\n"
        report = audit_block(Order(source, level="fast")).report
    finally:
        nn.Linear.extra_repr = before
    assert [each.code for each in report.findings] == ["patch.outside"]


# Each stores into a function or a module; the second line puts it back.
PATCHED = {
    "torch.isfinite": ("torch.isfinite = torch.isnan", "torch.isfinite = before"),
    "torch.nn.functional.relu": ("F.relu = F.gelu", "F.relu = before"),
    "softmax": (
        "F.softmax.__code__ = (lambda *a, **k: 0).__code__",
        "F.softmax.__code__ = before",
    ),
    "genesys_engine.plugins.auditor.causality.check_causality": (
        "sys.modules['genesys_engine.plugins.auditor.causality'].check_causality = max",
        "sys.modules['genesys_engine.plugins.auditor.causality'].check_causality = before",
    ),
    "genesys_engine.gab.checks.report.finding": (
        "sys.modules['genesys_engine.gab.checks.report'].finding = print",
        "sys.modules['genesys_engine.gab.checks.report'].finding = before",
    ),
}


@pytest.mark.parametrize("name", PATCHED)
def test_a_patched_function_is_seen(name):
    scope = {"torch": torch, "F": torch.nn.functional, "sys": sys}
    patch, back = PATCHED[name]
    changed = remember()
    assert changed(True) == ""
    scope["before"] = eval(patch.split(" = ")[0], scope)
    try:
        exec(patch, scope)
        assert changed(True) == name
    finally:
        exec(back, scope)
    assert changed(True) == ""


def test_nothing_is_patched_by_an_honest_block():
    probed = subject(ATTENTION)
    report = ReportBuilder(SourceMap(ATTENTION), probed.candidate)
    probed.block()
    report.look_for_patches()
    assert report.passed


class Liar(torch.Tensor):
    """Says that it is like any other."""


def test_a_tensor_that_answers_for_itself_is_none():
    class Block(nn.Module):
        def __init__(self, *_, **__):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, X, **Z):
            return X.as_subclass(Liar), Z

    with pytest.raises(TypeError, match="Liar"):
        LanguageModel(Block, ModelConfig(16, 1, 8, 8))(torch.zeros(1, 4, dtype=torch.long))


@pytest.mark.parametrize(
    "line",
    [
        "self.calls = getattr(self, 'calls', 0) + 1",
        "COUNTS.append(T)",
        "COUNTS[0] += 1",
    ],
)
def test_a_counter_is_seen_before_it_does_anything(line):
    source = with_line(line).replace("class Mixer", "COUNTS = [0]\n\n\nclass Mixer", 1)
    found = audit_block(Order(source, d_model=32)).report.findings
    assert [each.code for each in found] == ["state.kept"]
