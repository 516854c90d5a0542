"""The checks against blocks that are wrong in one way each, and against good ones."""

import json

import pytest
import torch
from spoilt import spoil

from genesys_engine.gab import library
from genesys_engine.gab.checks.report import ADVICE, CheckReport
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.compose import compose, load_block
from genesys_engine.gab.scales import ModelConfig
from genesys_engine.plugins.auditor import SERVED, batch, causality, forward, mixing
from genesys_engine.plugins.auditor.candidate import here
from genesys_engine.plugins.auditor.fingerprint import fingerprint
from genesys_engine.plugins.auditor.flops import flops_per_token
from genesys_engine.plugins.auditor.here import check_block
from genesys_engine.plugins.auditor.subject import Subject
from genesys_engine.plugins.check_job import check
from genesys_engine.plugins.sandbox.subject import SameProcess

torch.set_num_threads(1)

HEAD = """
import math
import torch
import torch.nn.functional as F
from torch import nn
"""

# A good block to be spoilt: `mix` is what a test replaces.
FRAME = (
    HEAD
    + """
class Mixer(nn.Module):
    def __init__(self, d, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {{"device": device, "dtype": dtype}}
        self.first = block_loc[0] == 0
        self.proj = nn.Linear(d, d, **kw)
        {init}

    def forward(self, X, **Z):
        B, T, D = X.shape
        past = torch.arange(1, T + 1, device=X.device, dtype=X.dtype)[:, None]
        mean = X.cumsum(1) / past
        Y = X
        {body}
        return Y, Z


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc=(0, 1), device=None, dtype=None):
        super().__init__()
        kw = {{"device": device, "dtype": dtype}}
        self.norm = nn.RMSNorm(embed_dim, **kw)
        self.mixer = Mixer(embed_dim, block_loc, **kw)
        self.mlp = nn.Sequential(
            nn.Linear(embed_dim, 4 * embed_dim, **kw), nn.GELU(),
            nn.Linear(4 * embed_dim, embed_dim, **kw),
        )

    def forward(self, X, **Z):
        Y, Z = self.mixer(self.norm(X), **Z)
        X = X + Y
        return X + self.mlp(X), Z
"""
)


def block(body, init="pass"):
    indent = "\n        "
    return FRAME.format(
        body=indent.join(body.strip().split("\n")), init=indent.join(init.strip().split("\n"))
    )


GPT = (
    HEAD
    + """
class Attention(nn.Module):
    def __init__(self, d, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.heads = max(1, d // 32)
        self.qkv = nn.Linear(d, 3 * d, bias=False, **kw)
        self.out = nn.Linear(d, d, bias=False, **kw)

    def forward(self, X, **Z):
        B, T, D = X.shape
        q, k, v = (
            t.view(B, T, self.heads, -1).transpose(1, 2) for t in self.qkv(X).chunk(3, -1)
        )
        Y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(Y.transpose(1, 2).reshape(B, T, D)), Z


class GatedMLP(nn.Module):
    def __init__(self, d, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.up = nn.Linear(d, 8 * d // 3, bias=False, **kw)
        self.gate = nn.Linear(d, 8 * d // 3, bias=False, **kw)
        self.down = nn.Linear(8 * d // 3, d, bias=False, **kw)

    def forward(self, X, **Z):
        return self.down(F.silu(self.gate(X)) * self.up(X)), Z


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc=(0, 1), device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.norm1, self.norm2 = nn.RMSNorm(embed_dim, **kw), nn.RMSNorm(embed_dim, **kw)
        self.attention = Attention(embed_dim, block_loc, **kw)
        self.mlp = GatedMLP(embed_dim, **kw)

    def forward(self, X, **Z):
        Y, Z = self.attention(self.norm1(X), **Z)
        X = X + Y
        Y, Z = self.mlp(self.norm2(X), **Z)
        return X + Y, Z
"""
)

GOOD = {
    "gpt": GPT,
    "cumulative mean": block("Y = self.proj(mean)"),
    "gate that starts at zero": block(
        "Y = self.gate * self.proj(mean)",
        "self.gate = nn.Parameter(torch.zeros(d, **kw))",
    ),
    "causal convolution": block(
        "Y = self.proj(self.conv(F.pad(X.transpose(1, 2), (3, 0))).transpose(1, 2))",
        "self.conv = nn.Conv1d(d, d, 4, groups=d, **kw)",
    ),
    "transform of the past": block(
        # A long convolution through the Fourier transform, padded so that it does not wrap.
        "kernel = torch.exp(-past.T * F.softplus(self.decay))[:, :T]\n"
        "spectrum = torch.fft.rfft(X, 2 * T, dim=1) * torch.fft.rfft(kernel, 2 * T, dim=1).mT\n"
        "Y = self.proj(torch.fft.irfft(spectrum, 2 * T, dim=1)[:, :T])",
        "self.decay = nn.Parameter(torch.ones(d, 1, **kw))",
    ),
    "value written in the first block and read in all": block(
        "Y = self.proj(mean + self.mix * Z.get('first', 0.0))\n"
        "Z = {**Z, 'first': Z.get('first', X)}",
        "self.mix = nn.Parameter(torch.ones(d, **kw))",
    ),
    "dropout": block("Y = F.dropout(self.proj(mean), 0.2, self.training)"),
    "stabilised exponentials": block(
        # The largest value of all positions only scales, and cancels.
        "A = self.proj(X)\n"
        "E = torch.exp(A - A.amax(1, keepdim=True))\n"
        "Y = (E * X).cumsum(1) / (E.cumsum(1) + 0.0)",
    ),
}

# name -> (source, code, unit in which it is found)
BAD = {
    "syntax error": (GPT.replace("def __init__(self, d, block_loc", "def __init__(self d", 1),
                     "load.syntax", None),
    "unknown name on import": (GPT + "\nx = undefined\n", "load.error", None),
    "no block": (HEAD, "load.error", None),
    "constructor raises": (
        block("Y = mean", "self.x = nn.Linear(d, None)"), "build.error", "Mixer"),
    "width it cannot be built at": (
        block("Y = self.proj(mean)", "assert d == 64, d"), "build.error", "Mixer"),
    "no parameters": (
        HEAD + "class Block(nn.Module):\n"
        "    def __init__(self, embed_dim, block_loc=(0, 1), device=None, dtype=None):\n"
        "        super().__init__()\n"
        "    def forward(self, X, **Z):\n"
        "        return X + X.cumsum(1), Z\n", "parameters.none", None),
    "too few parameters for any scale": (
        HEAD + "class Block(nn.Module):\n"
        "    def __init__(self, embed_dim, block_loc=(0, 1), device=None, dtype=None):\n"
        "        super().__init__()\n"
        "        self.w = nn.Parameter(torch.ones(1, device=device, dtype=dtype))\n"
        "    def forward(self, X, **Z):\n"
        "        return X + self.w * X.cumsum(1), Z\n", "scale.misfit", None),
    "wrong shape": (block("Y = mean").replace("return X + self.mlp(X), Z",
                    "return (X + self.mlp(X))[:, :-1], Z"), "shape.wrong", "Block"),
    "heads that fit one width only": (block(
        "Y = self.proj(X.view(B, T, 5, -1).reshape(B, T, D))"), "forward.error", "Mixer"),
    "raises at length 1": (block("Y = self.proj(mean) / (T - 1 and 1)\n"
                                 "Y = Y + X.new_zeros(T - 1)[0]"), "forward.error", "Mixer"),
    "no pair": (block("Y = mean").replace("return X + self.mlp(X), Z", "return X + self.mlp(X)"),
                "reply.wrong", "Block"),
    "wrong dtype": (block("Y = self.proj(mean)").replace(
        "return X + self.mlp(X), Z", "return (X + self.mlp(X)).float(), Z"),
        "dtype.wrong", "Block"),
    "not a number": (block("Y = self.proj(mean) + torch.log(-X.square())"), "output.nonfinite",
                     "Mixer"),
    "overflows at the training length": (block("Y = self.proj(mean) * torch.exp(past)"),
                                         "output.nonfinite", "Mixer"),
    "random in eval": (block("Y = self.proj(mean) + 1e-3 * torch.randn_like(X)"),
                       "determinism.random", "Mixer"),
    "dropout in eval": (
        block("Y = F.dropout(self.proj(mean), 0.5)"), "determinism.random", "Mixer"),
    "looks ahead one time in ten": (block(
        "Y = self.proj(mean)\n"
        "if torch.rand(()) < 0.1:\n"
        "    Y = Y + X.mean(1, keepdim=True)"), "determinism.random", "Mixer"),
    "state kept in an attribute": (block(
        "Y = self.proj(mean) + self.last\nself.last = 1e-3 * X.detach().mean().item()",
        "self.last = 0.0"), "state.kept", "Mixer"),
    "state kept in a buffer": (block(
        "Y = self.proj(mean)\nself.calls += 1",
        "self.register_buffer('calls', torch.zeros((), **kw))"), "state.kept", "Mixer"),
    "batch norm": (block(
        "Y = self.proj(mean)\nY = self.bn(Y.reshape(B * T, D)).view(B, T, D)",
        "self.bn = nn.BatchNorm1d(d, **kw)"), "batch.mixed", "Mixer"),
    "mean over the batch": (block("Y = self.proj(mean) + X.mean(0, keepdim=True)"), "batch.mixed",
                            "Mixer"),
    "divides by the batch size": (block("Y = self.proj(mean) / B"), "batch.mixed", "Mixer"),
    "mean over time": (block("Y = self.proj(X.mean(1, keepdim=True).expand_as(X))"),
                       "causality.leak", "Mixer"),
    "root mean square over time": (block(
        "Y = self.proj(mean) / X.square().mean(1, keepdim=True).add(1e-6).sqrt()"),
        "causality.leak", "Mixer"),
    "even function of the future": (block(
        "Y = self.proj(mean) + 1e-2 * X.abs().flip(1).cumsum(1).flip(1)"), "causality.leak",
        "Mixer"),
    "mask that is off by one": (block(
        "S = self.proj(X) @ X.mT / D**0.5\n"
        "mask = torch.ones(T, T, dtype=torch.bool, device=X.device).tril(1)\n"
        "Y = S.masked_fill(~mask, -math.inf).softmax(-1) @ X"), "causality.leak", "Mixer"),
    "chunk that sees its whole self": (block(
        "P = F.pad(X, (0, 0, 0, -T % 16)).view(B, -1, 16, D)\n"
        "Y = self.proj(P + 1e-3 * P.mean(2, keepdim=True)).view(B, -1, D)[:, :T] + mean"),
        "causality.leak", "Mixer"),
    "chunk of 64 that sees one step ahead at its end": (block(
        "n = (T - 1) // 64\n"
        "Y = self.proj(mean)\n"
        "Y[:, 63:63 + 64 * n:64] += X[:, 64::64][:, :n]"), "causality.leak", "Mixer"),
    "leak behind a gate that starts at zero": (block(
        "Y = self.proj(mean) + self.gate * X.mean(1, keepdim=True)",
        "self.gate = nn.Parameter(torch.zeros(d, **kw))"), "causality.leak", "Mixer"),
    "leak through Z": (block(
        "Y = self.proj(mean)\n"
        "if 'sum' in Z:\n"
        "    Y = Y + Z['sum']\n"
        "Z = {**Z, 'sum': X.flip(1).cumsum(1).flip(1)}"), "causality.leak", "Mixer"),
    "leak of the last step": (block("Y = self.proj(mean) + 1e-6 * X[:, -1:]"), "causality.leak",
                              "Mixer"),
    "leak in training only": (block(
        "Y = self.proj(mean) - (X.mean(1, keepdim=True) if self.training else 0)"),
        "causality.leak", "Mixer"),
    "gradient from the future": (block(
        "future = X.flip(1).cumsum(1).flip(1)\n"
        "Y = self.proj(mean) + (future - future.detach())"), "causality.gradient", "Mixer"),
    "identity over time": (block("Y = self.proj(X)"), "mixing.none", None),
    "position but no mixing": (block("Y = self.proj(X + past / T)".replace(" / T", " / 64")),
                               "mixing.none", None),
    "detached parameter": (block(
        "Y = F.linear(mean, self.w.detach()) + self.proj(X)",
        "self.w = nn.Parameter(torch.ones(d, d, **kw))"), "gradient.missing", "Mixer"),
    "unused parameter": (block(
        "Y = self.proj(mean)", "self.spare = nn.Linear(d, d, **kw)"), "gradient.missing", "Mixer"),
    "everything detached": (block("Y = self.proj(mean)").replace(
        "return X + self.mlp(X), Z",
        "return X.detach() + self.mlp(X.detach()) + 0 * X.sum().detach(), Z"),
        "gradient.blocked", None),
    "gradient of a root at zero": (block(
        "Y = self.proj(mean) + (X - X).square().sum(-1, keepdim=True).sqrt()"),
        "gradient.nonfinite", "Mixer"),
}  # fmt: skip


def run(source, scales=("0.2M",), seed=0):
    return check_block(source, vocab_size=512, seed=seed, scales=scales)


@pytest.mark.parametrize("name", GOOD)
def test_good_block_passes(name):
    report = run(GOOD[name])
    errors = [str(f) for f in report.findings if f.severity == "error"]
    assert errors == []
    assert set(report.measurements) == {"fits", "flops_per_token", "fingerprint"}


@pytest.mark.parametrize("name", BAD)
def test_bad_block_is_found_out(name):
    source, code, unit = BAD[name]
    report = run(source, scales=("0.2M", "1M"))
    assert not report.passed
    errors = [found for found in report.findings if found.severity == "error"]
    assert {found.code for found in errors} == {code}
    assert errors[0].unit == unit
    assert errors[0].advice == ADVICE[code]
    json.dumps(report.to_json(), allow_nan=False)


def line_of(source, text):
    return source[: source.index(text)].count("\n") + 1


def test_a_fault_has_its_line():
    source = BAD["raises at length 1"][0]
    (found,) = run(source).findings
    assert found.line == line_of(source, "X.new_zeros(T - 1)")
    assert found.evidence["length"] == 1
    source = BAD["syntax error"][0]
    (found,) = run(source).findings
    assert found.line == line_of(source, "def __init__(self d")
    source = BAD["unused parameter"][0]
    (found,) = run(source).findings  # one cause: the weight and the bias of one unused layer
    assert found.line == line_of(source, "self.spare =")
    assert (found.evidence["parameter"], found.evidence["parameters"]) == ("mixer.spare.weight", 2)


def test_a_leak_has_its_evidence():
    (found,) = run(BAD["mask that is off by one"][0]).findings
    evidence = found.evidence
    assert evidence["position"] == evidence["cut"] - 1
    assert evidence["change"] > 1e-9


def test_a_leak_in_a_child_is_laid_on_the_child():
    source = block("Y, Z = self.inner(X, **Z)\nY = Y + mean", "self.inner = Inner(d, **kw)")
    inner = """
class Inner(nn.Module):
    def __init__(self, d, device=None, dtype=None):
        super().__init__()
        self.w = nn.Parameter(torch.ones(d, device=device, dtype=dtype))

    def forward(self, X, **Z):
        return self.w * X.amax(1, keepdim=True).expand_as(X), Z
"""
    (found,) = run(source.replace("class Mixer", inner + "\n\nclass Mixer", 1)).findings
    assert (found.code, found.unit) == ("causality.leak", "Inner")


def test_idle_in_one_block_only_is_a_warning():
    report = run(GOOD["value written in the first block and read in all"])
    assert report.passed
    (found,) = report.findings
    assert (found.code, found.severity) == ("gradient.partial", "warning")
    assert found.evidence["parameter"] == "mixer.mix"


def test_a_unit_that_is_never_called_is_a_warning():
    source = block("Y = self.proj(mean)", "self.spare = Spare()").replace(
        "class Mixer", "class Spare(nn.Module):\n    pass\n\n\nclass Mixer", 1
    )
    report = run(source)
    (found,) = report.findings
    assert (found.code, found.severity, found.unit) == ("unit.unreached", "warning", "Spare")


def test_reading_values_is_a_warning_and_is_counted_all_the_same():
    report = run(block("Y = self.proj(mean) * (1.0 if X.sum().item() < 1e9 else 2.0)"))
    clean = run(GOOD["cumulative mean"])
    assert [found.code for found in report.findings] == ["device.bound"]
    count = report.measurements["flops_per_token"]["0.2M"]
    assert count == pytest.approx(clean.measurements["flops_per_token"]["0.2M"], rel=0.01)


@pytest.mark.parametrize("name", library.seed_names())
def test_every_seed_passes_whatever_the_random_values(name):
    """With values of 1 the TTT seed's last position keeps its gate shut once parameters move."""
    for seed in (0, 1):
        found = run(compose(library.seed(name)), seed=seed)
        assert found.passed, found.findings


def test_memory_error_is_not_laid_on_the_code():
    with pytest.raises(MemoryError):
        run(block("raise MemoryError"))
    with pytest.raises(MemoryError, match="allocate"):
        run(block("Y = self.proj(mean) + torch.zeros(1 << 60)"))


def test_a_number_that_is_none_fails_every_threshold():
    """The probes' outputs are replaced by NaN behind the check for finite values."""
    subject = Subject(here(GPT, form="plain"), SourceMap(GPT), 128, 0)
    subject.noise  # noqa: B018  found before the outputs are spoilt

    spoil(subject)
    checks = (forward.check_repeatable, batch.check_batch, mixing.check_mixing)
    found = [next(check(subject)) for check in checks]
    assert [f.code for f in found] == ["state.kept", "batch.mixed", "mixing.none"]
    assert next(causality.check_causality(subject)).code == "causality.leak"
    for each in found:
        json.dumps(dict(each.evidence), allow_nan=False)


def test_report_round_trips_and_is_deterministic():
    report = run(BAD["unused parameter"][0])
    data = json.loads(json.dumps(report.to_json()))
    assert CheckReport.from_json(data) == report
    assert run(BAD["unused parameter"][0]) == report
    good = run(GPT)
    assert run(GPT) == good
    assert run(GPT, seed=7).measurements == good.measurements


def test_job_returns_the_report_as_json(tmp_path):
    payload = {"source": GPT, "vocab_size": 512, "seed": 0, "scales": ["0.2M", "1M"]}
    value = check(payload, tmp_path, SameProcess(SERVED, tmp_path))
    assert value["passed"]
    fits = value["measurements"]["fits"]
    assert list(fits) == ["0.2M", "1M"]
    assert set(fits["1M"]) == {
        "d_model", "n_blocks", "context", "vocab_size", "parameters", "reference"
    }  # fmt: skip
    assert abs(fits["1M"]["parameters"] / fits["1M"]["reference"] - 1) <= 0.2
    assert value["measurements"]["flops_per_token"].keys() == fits.keys()


# --- measurements ---


def test_flops_of_a_gpt_block_by_hand():
    config = ModelConfig(d_model=64, n_blocks=2, vocab_size=100, context=32)
    count = flops_per_token(load_block(GPT), config)
    hidden = 8 * 64 // 3
    products = 2 * (2 * 4 * 64 * 64 + 2 * 3 * 64 * hidden + 4 * 32 * 64) + 2 * 64 * 100
    assert products < count < 1.2 * products
    assert flops_per_token(load_block(GPT), config, device="cpu") == pytest.approx(count, rel=0.02)


def digest(source, seed=0):
    return fingerprint(Subject(here(source, form="plain"), SourceMap(source), 128, seed))


def test_equal_functions_have_equal_fingerprints():
    other = GPT.replace(
        "F.scaled_dot_product_attention(q, k, v, is_causal=True)",
        "(q @ k.mT / q.shape[-1] ** 0.5 + torch.full((T, T), -math.inf, dtype=X.dtype).triu(1))"
        ".softmax(-1) @ v",
    )
    assert other != GPT
    assert digest(GPT) == digest(other) == digest(GPT, seed=5)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("F.silu(self.gate(X))", "F.gelu(self.gate(X))"),
        ("d // 32", "d // 16"),
        ("self.norm2(X)", "X"),
        ("return X + Y, Z", "return X + 0.999 * Y, Z"),
    ],
)
def test_different_functions_have_different_fingerprints(old, new):
    assert old in GPT
    assert digest(GPT) != digest(GPT.replace(old, new))


def test_a_window_beyond_the_usual_length_changes_the_fingerprint():
    window = "Y = self.proj(mean - F.pad(X, (0, 0, {n}, 0))[:, :T])"
    assert digest(block(window.format(n=128))) != digest(block(window.format(n=200)))
