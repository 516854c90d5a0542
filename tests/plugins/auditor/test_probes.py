"""What begins at a length, hides in a batch, rounds, or waits for its input: the probes' reach."""

import itertools
from pathlib import Path

import pytest
import torch

from genesys_engine.gab import library
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.compose import compose
from genesys_engine.plugins.auditor import (
    batch,
    causality,
    gradient,
    lengths,
    mixing,
    modes,
    slope,
)
from genesys_engine.plugins.auditor.audit import Order
from genesys_engine.plugins.auditor.candidate import here
from genesys_engine.plugins.auditor.chunks import lengths_named
from genesys_engine.plugins.auditor.here import audit_block, check_block
from genesys_engine.plugins.auditor.lifted import lifted
from genesys_engine.plugins.auditor.subject import Subject
from genesys_engine.plugins.trainers import stepping

torch.set_num_threads(1)
ZOO = Path(__file__).parents[2] / "zoo"

FRAME = """
import math
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
{above}

class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, {more}device=None, dtype=None):
        super().__init__()
        kw = {{"device": device, "dtype": dtype}}
        d = embed_dim
        self.norm = nn.LayerNorm(d, **kw)
        self.qkv = nn.Linear(d, 3 * d, **kw)
        self.out = nn.Linear(d, d, **kw)
        {init}

    def attend(self, X, **how):
        q, k, v = self.qkv(X).chunk(3, -1)
        return F.scaled_dot_product_attention(q, k, v, **how)

    def forward(self, X, **Z):
        B, T, D = X.shape
        N = self.norm(X)
        Y = self.attend(N, is_causal=True)
        {body}
        return X + self.out(Y), Z
"""


def block(body="pass", init="pass", above="", more=""):
    indent = "\n        "
    lines = {"body": body.strip().replace("\n", indent), "init": init.strip().replace("\n", indent)}
    return FRAME.format(above=above, more=more, **lines)


def subject(source, context=128, width=32, **more):
    return Subject(here(source), SourceMap(source), context, 0, width, **more)


def codes(source, *checks, **more):
    """Return the codes of the first stage that finds anything, as an audit does."""
    probed = subject(source, **more)
    found = ([each.code for each in check(probed)] for check in checks)
    return next((each for each in found if each), [])


CAUSALITY = (causality.check_causality, causality.check_lengths)

# --- leaks that begin at a length ---

# How a chunk of 192 or 256 may be written: (body's expression, constructor, module, parameters).
SIZES = {
    "product": ("4 * 64", "pass", "", ""),
    "power": ("2 ** 8", "pass", "", ""),
    "shift": ("1 << 8", "pass", "", ""),
    "ratio": ("1024 // 4", "pass", "", ""),
    "root": ("int(65_536 ** 0.5)", "pass", "", ""),
    "names": ("HEADS * SIZE", "pass", "HEADS = 3\nSIZE = 64", ""),
    "name of names": ("TILE", "pass", "SUB = 24\nTILE = SUB << 3", ""),
    "default": ("self.chunk", "self.chunk = chunk", "", "chunk=192, "),
    "attribute": ("6 * self.heads", "self.heads = len('x' * 32)", "", ""),
    "only known once built": ("self.chunk", "self.chunk = sum([64] * 3)", "", ""),
}
# What is wrong there: within whole chunks, and only where the input has a whole number of them;
# at the ends of chunks; in every chunk but the first.
FAULTS = {
    "within": "n = T // c\n"
    "if n:\n"
    "    Y = Y + F.pad(N[:, : n * c].view(B, n, c, D).mean(2, True).expand(-1, -1, c, -1)"
    ".reshape(B, n * c, D), (0, 0, 0, T - n * c))",
    "multiples": "if T % c == 0:\n    Y = Y + N.view(B, -1, c, D).mean(2, True)"
    ".expand(-1, -1, c, -1).reshape(B, T, D)",
    "ends": "at = torch.arange(T, device=X.device)\n"
    "Y = Y + N.roll(-1, 1) * ((at % c == c - 1) & (at < T - 1))[:, None]",
    "late": "if T > c + 1:\n    Y = Y + F.pad(N[:, c + 1 :], (0, 0, c, 1))",
}


@pytest.mark.parametrize(("size", "fault"), sorted(zip(SIZES, itertools.cycle(FAULTS))))
def test_a_leak_that_begins_at_a_chunk_is_found_from_a_shorter_context(size, fault):
    expression, init, above, more = SIZES[size]
    source = block(f"c = {expression}\n{FAULTS[fault]}", init, above, more)
    assert codes(source, *CAUSALITY, beyond=True) == ["causality.leak"]


@pytest.mark.parametrize("chunk", [16, 48, 60, 100, 144, 224])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_leak_is_found_within_the_context_without_a_word_in_the_source(chunk, fault):
    """Sizes come from a string, so that nothing names them."""
    source = block(f"c = int('{chunk}')\n{FAULTS[fault]}")
    assert chunk not in subject(source).chunks
    usual = next(c for c in (128, 512, 2048) if c >= 2 * chunk)
    context = 2 * chunk if fault == "multiples" else usual
    assert codes(source, *CAUSALITY, context=context) == ["causality.leak"]


@pytest.mark.parametrize(
    "fault", ["if self.training and T > 64:", "if T == 128:", "if 40 < T < 70:"]
)
def test_a_leak_in_one_mode_or_range_of_lengths_is_found(fault):
    source = block(f"{fault}\n    Y = Y + 0.01 * N.mean(1, True)")
    assert codes(source, *CAUSALITY) == ["causality.leak"]


@pytest.mark.parametrize(
    "where",
    [
        "self.training and B > 4 and T == 128",
        "self.training and B * T == 2048 and X.dtype == torch.float32",
        "self.training and B == 16 and X.requires_grad",
        "X.requires_grad and (X[:, 1:] == X[:, :1]).all(-1).any()",
        "X.grad_fn is not None and X.grad_fn.name()[0] == 'E' and not self._forward_hooks",
    ],
)
def test_a_leak_in_the_batch_of_a_training_alone_is_found(where):
    source = block(f"if {where}:\n    Y = Y + 0.1 * N.roll(-1, 1)")
    assert codes(source, batch.check_batch, causality.check_causality) == []
    assert codes(source, causality.check_causality_as_trained) == ["causality.leak"]


def test_a_leak_of_weights_that_nothing_has_moved_is_found():
    """As a training begins with them: small, and all of one size."""
    source = block("if X.requires_grad and X.std() < 0.3:\n    Y = Y + 0.1 * N.roll(-1, 1)")
    assert codes(source, causality.check_causality_as_trained) == ["causality.leak"]


def test_a_step_is_probed_in_the_shape_that_trainings_use():
    assert lengths.STEP == stepping.IN_CACHE
    assert [lengths.rows_of_step(n) for n in (128, 256, 2048, 4096)] == [16, 8, 1, 1]


@pytest.mark.parametrize("drops", ["0.1", "0.5"])
def test_dropout_is_no_leak_in_the_batch_of_a_training(drops):
    source = block(f"Y = F.dropout(Y, {drops}, self.training)")
    assert codes(source, *CAUSALITY, causality.check_causality_as_trained) == []
    leak = f"Y = F.dropout(Y, {drops}, self.training)\n"
    leak += "if self.training and B > 4:\n    Y = Y + N.mean(1, True)"
    assert codes(block(leak), causality.check_causality_as_trained) == ["causality.leak"]


def test_a_leak_under_autocast_alone_is_found():
    source = block("if Y.dtype == torch.bfloat16:\n    Y = Y + 0.1 * Y.roll(-1, 1)")
    assert codes(source, *CAUSALITY, causality.check_causality_as_trained) == []
    assert codes(source, modes.check_autocast) == ["causality.leak"]
    for each in ("F.dropout(Y, 0.3, self.training)", "Y * (torch.rand(B, 1, 1) > 0.5)"):
        assert codes(block(f"if self.training:\n    Y = {each}"), modes.check_autocast) == []
    sound = block("if Y.dtype == torch.bfloat16:\n    Y = Y + 0.1 * F.pad(Y[:, :-1], (0, 0, 1, 0))")
    assert codes(sound, modes.check_autocast) == []


def test_words_come_again_and_a_few_often():
    drawn = subject(block()).text(64, 128).flatten()
    counts = torch.bincount(drawn, minlength=97).sort(descending=True).values / len(drawn)
    assert counts[0] > 5 * counts[20] > 2 * counts[-1]
    assert counts.sum() == pytest.approx(1)


def test_what_train_mode_changes_and_eval_mode_reads_is_no_leak():
    """A mean over all that was trained on, which eval mode takes away."""
    body = (
        "if self.training:\n    self.mean.lerp_(N.detach().mean((0, 1)), 0.1)\n"
        "    Y = F.dropout(Y, 0.1)\nelse:\n    Y = Y - self.mean"
    )
    source = block(body, 'self.register_buffer("mean", torch.zeros(d, **kw))')
    checks = (batch.check_batch, *CAUSALITY, mixing.check_mixing, modes.check_modes)
    probed = subject(source, beyond=True)
    assert [f.code for check in checks for f in check(probed)] == []
    again = probed.run(probed.shared.eval(), probed.tokens(1, 31))
    assert torch.equal(again, probed.alone(31)[-1])


def test_a_gradient_from_the_future_in_training_alone_is_found():
    source = block("if self.training:\n    A = N.mean(1, True)\n    Y = Y + (A - A.detach())")
    assert codes(source, causality.check_causality) == ["causality.gradient"]


def test_a_block_that_knows_whether_its_mode_was_ever_set_is_found():
    """As a training sets it: before its first step, and never to eval mode."""
    told = "\n    def train(self, mode=True):\n        self.told = mode"
    told += " and getattr(self, 'told', mode)\n        return super().train(mode)\n"
    body = "if getattr(self, 'told', False):\n    Y = Y + 0.1 * N.roll(-1, 1)"
    source = block(body).replace("    def attend(", f"{told}\n    def attend(")
    assert codes(source, causality.check_causality_as_trained) == ["causality.leak"]


def test_a_gradient_from_the_future_that_begins_late_is_found():
    source = block("if T > 100:\n    A = N.mean(1, True)\n    Y = Y + (A - A.detach())")
    assert codes(source, causality.check_causality) == ["causality.gradient"]


def test_a_run_probes_the_largest_context_of_its_ladder():
    source = block(FAULTS["late"].replace("c + 1", "1025").replace("c, 1", "1024, 1"))
    source = (
        source.replace("if T > 1025:", "if T > int('1025'):")
        .replace("N[:, 1025 :]", "N[:, -(T - int('1025')) :]")
        .replace("(0, 0, 1024, 1)", "(0, 0, int('1024'), 1)")
    )
    small, large = (
        check_block(source, vocab_size=512, seed=0, scales=scales)
        for scales in (["0.2M"], ["0.2M", "14M"])
    )
    assert small.passed
    (found,) = large.findings
    assert (found.code, found.evidence["length"]) == ("causality.leak", 2048)


def test_the_audit_says_how_far_it_looked():
    source = block("if T > 4096:\n    Y = Y + N.mean(1, True)")
    probe = audit_block(Order(source, d_model=32)).report.measurements["probe"]
    assert (probe["longest"], probe["unprobed"]) == (259, [4096])
    order = Order(source, d_model=32, context=4100, level="fast")
    assert [f.code for f in audit_block(order).report.findings] == ["causality.leak"]


@pytest.mark.parametrize("size", SIZES)
def test_a_sound_block_in_chunks_passes(size):
    """Within a chunk every position sees the chunk's past, and the mean of the chunk before."""
    expression, init, above, more = SIZES[size]
    body = (
        f"c = {expression}\n"
        "parts = [self.attend(part, is_causal=True) for part in N.split(c, 1)]\n"
        "means = [part.mean(1, True) for part in N.split(c, 1)]\n"
        "Y = torch.cat([p + (means[i - 1] if i else 0) for i, p in enumerate(parts)], 1)"
    )
    assert codes(block(body, init, above, more), *CAUSALITY, beyond=True) == []


def test_a_dependence_on_the_length_that_begins_late_is_found():
    source = block("Y = Y * (2.0 if T > 150 else 1.0)")
    assert codes(source, *CAUSALITY, beyond=True) == ["causality.length"]
    assert codes(block("Y = Y / (1 + (T > 70))"), *CAUSALITY) == ["causality.length"]


# --- which lengths and cuts ---


@pytest.mark.parametrize("length", [128, 256, 512, 1024, 2048])
def test_cuts_are_the_ends_of_usual_chunks_and_lie_inside_of_all(length):
    where = lengths.cuts(length)
    assert len(where) <= 14
    assert where == sorted(set(where))
    assert where[0] <= length // 8 + 1
    assert where[-1] == length - 1
    for size in (8, 16, 24, 32, 40, 48, 56, 60, 64, 96, 100, 112, 120):
        if size <= length // 2:
            assert any(cut % size == 0 for cut in where), size
            assert any(cut > size and cut % size for cut in where), size


def test_named_sizes_have_cuts_of_their_own():
    where = lengths.cuts(2048, [7, 91, 1300])
    for size in (91, 1300):
        assert any(cut % size == 0 for cut in where)
        assert any(cut > size and cut % size for cut in where)
    assert lengths.largest([2, 4, 64, 96, 256, 300], 290) == [256, 96]
    assert lengths.cuts(16) == list(range(1, 16))


def test_numbers_of_the_source_are_worked_out():
    text = (
        "class B:\n    size = 3\n    def f(self, n=5, *, m=7):\n        x, self.y = n * m, 1 << 9\n"
    )
    assert lengths_named(text) == (3, 5, 7, 9, 35, 512)
    assert lengths_named("k = 6 * self.width", (("width", 50),)) == (6, 50, 300)
    assert lengths_named("a = a + 1\nb = 2 ** 99999999\nc = 1 // 0\nd = 9 ** 9 ** 9") == (2, 9)
    assert lengths_named("class B(:") == ()


# --- batches ---

ROWS = {
    "[0] of a tensor": "Y = self.out(N)[0]",
    "first row for all": "Y = Y + N[:1]",
    "last row for all": "Y = Y + N[-1:]",
    "earlier rows": "Y = Y + N.cumsum(0)",
    "later rows": "Y = Y + N.flip(0).cumsum(0).flip(0)",
    "the next row": "Y = Y + N.roll(1, 0)",
    "rows two by two": "if B % 2 == 0:\n    Y = Y + N.view(-1, 2, T, D).flip(1).view(B, T, D)",
    "the largest row": "Y = Y + N.amax(0)",
    "the batch size": "Y = Y / B",
    "in training": "if self.training:\n    Y = Y + N[:1]",
    "long inputs only": "if T > 100:\n    Y = Y + N[-1:]",
}


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_asked_against_every_other(name):
    probed = subject(block(ROWS[name]))
    checks = (batch.check_batch, causality.check_causality)
    found = next(found for check in checks for found in check(probed))
    assert found.code == "batch.mixed"


@pytest.mark.parametrize(
    ("init", "body", "pattern"),
    [
        ("self.rnn = nn.GRU(d, d, **kw)", "Y = self.rnn(N)[0]", "batch_first"),
        ("self.rnn = nn.LSTM(d, d, **kw)", "Y = self.rnn(N)[0]", "batch_first"),
        ("self.mix = nn.MultiheadAttention(d, 2, **kw)", "Y = self.mix(N, N, N)[0]", "batch"),
        ("self.mix = nn.Linear(d, d, **kw)", "Y = Y + self.mix(N)[0]", "[0]"),
    ],
)
@pytest.mark.parametrize("level", ["fast", "full"])
def test_layers_that_take_the_batch_for_time_are_named(init, body, pattern, level):
    report = audit_block(Order(block(body, init), d_model=32, level=level)).report
    (found,) = [found for found in report.findings if found.severity == "error"]
    assert found.code == "batch.mixed"
    assert pattern in found.message
    assert found.evidence["source"] != found.evidence["sequence"]


# --- rounding ---

SCAN = """
a = torch.sigmoid(N).float()
state, states = torch.zeros(B, D), []
for t in range(T):
    state = a[:, t] * state + N[:, t].float()
    states.append(state)
S = N.float()[:, :1] if T == 1 else torch.stack(states, 1)
Y = Y + S.to(X.dtype)
"""
WAVE = """
kernel = torch.exp(-torch.arange(T, device=X.device) / 9.0).float()
wave = torch.fft.rfft(N.float(), 2 * T, dim=1) * torch.fft.rfft(kernel, 2 * T)[:, None]
Y = Y + torch.fft.irfft(wave, 2 * T, dim=1)[:, :T].to(X.dtype)
"""
RETENTION = """
q, k, v = self.qkv(N).float().chunk(3, -1)
t = torch.arange(T, device=X.device)
decay = torch.where(t[:, None] >= t, 0.9 ** (t[:, None] - t).clamp_min(0).float(), 0.0)
Y = ((q @ k.mT * decay) @ v).to(X.dtype)
"""
EVERYTHING = (batch.check_batch, *CAUSALITY, mixing.check_mixing, modes.check_modes)
ROUNDING = {
    "scan": SCAN,
    "transform": WAVE,
    "retention": RETENTION,
    "half": RETENTION.replace("float()", "bfloat16()", 1)
    .replace("0.9 **", "0.9 **")
    .replace("decay) @ v", "decay.bfloat16()) @ v"),
    "mean of all": "A = N.float()\nY = Y + (A - A.mean(1, True) + A.mean(1, True)).to(X.dtype)",
}


@pytest.mark.parametrize("name", ROUNDING)
def test_what_computes_in_fp32_by_design_is_sound(name):
    assert codes(block(ROUNDING[name]), *EVERYTHING) == []


@pytest.mark.parametrize("name", ["scan", "transform", "retention"])
@pytest.mark.parametrize("size", [1e-2, 2e-8])
def test_a_leak_as_small_as_the_rounding_beside_it_is_found(name, size):
    body = f"{ROUNDING[name]}\nY = Y + {size} * (X.mean(1, True) - X.cumsum(1) / T)"
    assert codes(block(body), causality.check_causality) == ["causality.leak"]


def test_a_leak_that_hides_in_the_dtype_is_no_rounding():
    body = "A = N.float()\nif A.dtype == torch.float32:\n    Y = Y + 1e-4 * A.mean(1, True)"
    assert codes(block(body), causality.check_causality) == ["causality.leak"]


def test_a_block_that_insists_on_its_dtype_is_judged_by_how_the_change_grows():
    insists = "\nif N.float().dtype != torch.float32:\n    raise TypeError('fp32 only')"
    assert codes(block(WAVE + insists), causality.check_causality) == []
    leak = f"{WAVE}{insists}\nY = Y + 1e-4 * N.mean(1, True)"
    assert codes(block(leak), causality.check_causality) == ["causality.leak"]


def test_lifting_computes_in_fp64_what_is_asked_in_fp32():
    x = torch.randn(5, dtype=torch.float64)
    with lifted():
        one = (x.float() * 3).to(torch.bfloat16).sum(dtype=torch.float32)
        made = torch.zeros(2), torch.ones(2, dtype=torch.float16)
    assert one.dtype == torch.float64
    assert float(one) == pytest.approx(float(3 * x.sum()), rel=1e-14)
    assert {each.dtype for each in made} == {torch.float64}
    assert torch.zeros(1).dtype == torch.float32


def test_the_receptive_field_of_a_transform_is_not_its_rounding():
    window = WAVE.replace(
        "torch.exp(-torch.arange(T, device=X.device) / 9.0)", "(torch.arange(T) < 4)"
    )
    source = block(f"Y = torch.zeros_like(X)\n{window}")
    assert mixing.receptive_field(subject(source)) <= 8  # 3 back in each of two layers


# --- gradients ---

EXPERTS = (
    "flat = N.reshape(-1, D)\n"
    "weights, chosen = self.router(flat).softmax(-1).topk(2, -1)\n"
    "E = torch.zeros_like(flat)\n"
    "for i, expert in enumerate(self.experts):\n"
    "    rows, place = (chosen == i).nonzero(as_tuple=True)\n"
    "    if len(rows):\n"
    "        E = E.index_add(0, rows, expert(flat[rows]) * weights[rows, place, None])\n"
    "Y = Y + E.view_as(Y)"
)
MANY = (
    "self.router = nn.Linear(d, 64, **kw)\n"
    "self.experts = nn.ModuleList(nn.Linear(d, d, **kw) for _ in range(64))"
)
GRADIENTS = {
    "64 experts": (EXPERTS, MANY, []),
    "after 64 tokens": ("Y = Y + F.pad(self.far(N[:, 64:]), (0, 0, 64, 0)) if T > 64 else Y",
                        "self.far = nn.Linear(d, d, **kw)", []),
    "after 200 tokens, by its source": (
        "Y = Y + F.pad(self.far(N[:, 200:]), (0, 0, 200, 0)) if T > 200 else Y",
        "self.far = nn.Linear(d, d, **kw)", []),
    "one of four layers": ("for i in range(3):\n    Y = Y + self.mlp[i](N)",
                           "self.mlp = nn.ModuleList(nn.Linear(d, d, **kw) for _ in range(4))",
                           [("gradient.missing", 2)]),
    "a whole part": ("pass", "five = (nn.Linear(d, d, **kw) for _ in range(5))\n"
                     "self.spare = nn.Sequential(*five)",
                     [("gradient.missing", 10)]),
    "two causes": ("pass",
                   "self.a = nn.Linear(d, d, **kw)\nself.b = nn.Parameter(torch.ones(d, **kw))",
                   [("gradient.missing", 1), ("gradient.missing", 2)]),
}  # fmt: skip


@pytest.mark.parametrize("name", GRADIENTS)
def test_one_cause_is_one_finding_and_some_inputs_are_enough(name):
    body, init, wanted = GRADIENTS[name]
    found = list(gradient.check_gradient(subject(block(body, init), beyond=True)))
    assert sorted((f.code, f.evidence.get("parameters", 1)) for f in found) == wanted


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints_are_no_fault(reentrant):
    body = f"Y = checkpoint(self.attend, N, is_causal=True, use_reentrant={reentrant})"
    if reentrant:  # it passes no names on
        body = "Y = checkpoint(lambda N: self.attend(N, is_causal=True), N, use_reentrant=True)"
    checks = (*EVERYTHING, gradient.check_gradient, modes.check_large_inputs)
    assert codes(block(body), *checks) == []


def test_a_block_that_takes_a_gradient_of_its_own_is_no_fault():
    body = (
        "with torch.enable_grad():\n"
        "    W = self.out.weight if self.out.weight.requires_grad else None\n"
        "    (G,) = torch.autograd.grad((self.out.weight.square().sum()), self.out.weight)\n"
        "Y = Y + N @ G.detach()"
    )
    checks = (*CAUSALITY, gradient.check_gradient)
    assert codes(block(body), *checks) == []


WRITTEN = """
class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return {forward}

    @staticmethod
    def backward(ctx, g):
        return {backward}
"""


@pytest.mark.parametrize(
    ("forward", "backward", "wanted"),
    [
        ("2 * x", "2 * g", []),
        ("2 * x", "3 * g", ["gradient.differs"]),
        ("2 * x", "-2 * g", ["gradient.differs"]),
        ("2 * x", "torch.zeros_like(g)", ["gradient.differs"]),
        ("x.relu()", "g", ["gradient.differs"]),
    ],
)
def test_a_gradient_that_a_block_writes_itself_is_compared_with_its_outputs(
    forward, backward, wanted
):
    source = block("Y = Y + Double.apply(N)", above=WRITTEN.format(**locals()))
    found = list(slope.check_slope(subject(source)))
    assert [each.code for each in found] == wanted
    assert all(each.severity == "warning" for each in found)


@pytest.mark.parametrize(
    "body",
    [
        "Y = Y + N.relu() + N.abs()",
        "Y = Y + N.float().cumsum(1).to(X.dtype)",
        "Y = Y + torch.fft.irfft(torch.fft.rfft(N.float(), 2 * T, 1), 2 * T, 1)[:, :T].to(X.dtype)",
        "Y = Y + torch.where(N > N.median(-1, True).values, N, 0 * N)",
        "Y = 0 * Y",
    ],
)
def test_kinks_rounding_and_choices_are_no_false_gradient(body):
    assert codes(block(body), slope.check_slope) == []


def test_a_second_direction_is_asked_like_the_first(monkeypatch):
    monkeypatch.setattr(slope, "_STEPS", (1e-20, 1e-4))  # the first one is nothing
    assert codes(block(), slope.check_slope) == []


def test_an_estimator_that_passes_a_step_by_is_a_warning_and_no_more():
    source = block("Y = Y + N + ((8 * N).round() / 8 - N).detach()")
    report = audit_block(Order(source, d_model=32)).report
    assert report.passed
    assert [each.code for each in report.findings] == ["gradient.differs"]


def test_a_gradient_that_hides_a_leak_does_not_hide_it_from_the_outputs():
    source = block("A = N.mean(1, True)\nY = Y + A.detach()")
    assert codes(source, causality.check_causality) == ["causality.leak"]


# --- mixing ---


@pytest.mark.parametrize(("back", "wanted"), [(64, []), (100, []), (300, ["mixing.none"])])
def test_a_block_may_read_from_as_far_as_it_is_trained(back, wanted):
    body = f"k = int('{back}')\nY = F.pad(N, (0, 0, k, 0))[:, :T]"
    assert codes(block(body), mixing.check_mixing) == wanted
    assert codes(block(body), mixing.check_mixing, context=512) == []


def test_mixing_of_seeds():
    for name in library.seed_names():
        source = compose(library.seed(name))
        assert codes(source, batch.check_batch, mixing.check_mixing) == []
