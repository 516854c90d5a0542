"""The library's recurrent units equal a plain loop over time, in fp64, and bear extreme gates."""

import cmath
import math

import pytest
import torch
import torch.nn.functional as F
from seed_support import draw, largest_difference, make, randomise

LENGTHS = (1, 2, 7, 16, 31, 32, 33, 70)
EXACT = 1e-8


def sigmoid(x):
    return 1 / (1 + (-x).exp())


def silu(x):
    return x * sigmoid(x)


def by_head(values, heads):
    """Return (B, T, width) as (B, H, T, width / H)."""
    return values.unflatten(-1, (heads, -1)).transpose(1, 2)


def joined(y):
    return y.transpose(1, 2).flatten(2)


def outer(k, v):
    return k.unsqueeze(-1) * v.unsqueeze(-2)


def read(q, state):
    return torch.einsum("bhk,bhkv->bhv", q, state)


@pytest.mark.parametrize("length", LENGTHS)
def test_gated_linear_attention_equals_a_loop_over_steps(length):
    unit, x = randomise(make("gated_linear_attention", 64)), draw(2, length, 64)
    q, k, v, gate = (x @ unit.project.weight.T).split((32, 32, 64, 64), -1)
    raw = x @ unit.decay_down.weight.T @ unit.decay_up.weight.T + unit.decay_bias
    keep = by_head(sigmoid(raw) ** (1 / 16), 2)
    q, k, v = (by_head(part, 2) for part in (q, k, v))
    state, rows = torch.zeros(2, 2, 16, 32).double(), []
    for t in range(length):
        state = keep[:, :, t].unsqueeze(-1) * state + outer(k[:, :, t], v[:, :, t])
        rows.append(read(q[:, :, t], state) / 4)
    y = joined(unit.head_norm(torch.stack(rows, 2))[0])
    assert largest_difference(unit(x)[0], (silu(gate) * y) @ unit.out.weight.T) < EXACT


@pytest.mark.parametrize("index", [0, 2])
@pytest.mark.parametrize("length", LENGTHS)
def test_hgrn2_equals_a_loop_over_steps(length, index):
    unit, x = randomise(make("hgrn2", 64, loc=(index, 3))), draw(2, length, 64)
    raw, entered, opened = (by_head(p, 2) for p in (x @ unit.project.weight.T).chunk(3, -1))
    forget = index / 3 + (1 - index / 3) * sigmoid(raw)
    state, rows = torch.zeros(2, 2, 32, 32).double(), []
    for t in range(length):
        f = forget[:, :, t]
        state = f.unsqueeze(-1) * state + outer(1 - f, entered[:, :, t])
        rows.append(read(silu(opened[:, :, t]), state))
    y = joined(unit.head_norm(torch.stack(rows, 2))[0])
    assert largest_difference(unit(x)[0], y @ unit.out.weight.T) < EXACT


def delta_parts(unit, x):
    """Return q, k, v and strength of a delta rule unit, (B, H, T, ...)."""
    qkv = silu(unit.convolution(x @ unit.qkv.weight.T)[0])
    q, k, v = (by_head(part, 2) for part in qkv.chunk(3, -1))
    q, k = (part / part.norm(dim=-1, keepdim=True) for part in (q, k))
    return q, k, v, sigmoid(x @ unit.strength.weight.T).transpose(1, 2)


def delta_rule(q, k, v, strength, keep):
    state, rows = torch.zeros(2, 2, 32, 32).double(), []
    for t in range(q.shape[2]):
        state = keep[:, :, t, None, None] * state
        wrong = v[:, :, t] - read(k[:, :, t], state)
        state = state + strength[:, :, t, None, None] * outer(k[:, :, t], wrong)
        rows.append(read(q[:, :, t], state))
    return torch.stack(rows, 2)


@pytest.mark.parametrize("chunk", [16, 32])
@pytest.mark.parametrize("length", LENGTHS)
def test_delta_net_equals_a_loop_over_steps(length, chunk):
    unit, x = randomise(make("delta_net", 64, hyper={"chunk": chunk})), draw(2, length, 64)
    q, k, v, strength = delta_parts(unit, x)
    y = delta_rule(q, k, v, strength, torch.ones_like(strength))
    expected = joined(unit.head_norm(y)[0]) @ unit.out.weight.T
    assert largest_difference(unit(x)[0], expected) < EXACT


@pytest.mark.parametrize("chunk", [16, 32])
@pytest.mark.parametrize("length", LENGTHS)
def test_gated_delta_net_equals_a_loop_over_steps(length, chunk):
    unit, x = randomise(make("gated_delta_net", 64, hyper={"chunk": chunk})), draw(2, length, 64)
    q, k, v, strength = delta_parts(unit, x)
    step = (1 + (x @ unit.step.weight.T + unit.step_bias).exp()).log()
    keep = (-unit.rate_log.exp() * step).exp().transpose(1, 2)
    y = joined(unit.head_norm(delta_rule(q, k, v, strength, keep))[0])
    expected = (silu(x @ unit.gate.weight.T) * y) @ unit.out.weight.T
    assert largest_difference(unit(x)[0], expected) < EXACT


@pytest.mark.parametrize("name", ["delta_net", "gated_delta_net"])
def test_the_delta_rule_keeps_its_digits_where_all_keys_are_alike(name):
    """The hardest system for a chunk: full overlap at full strength, in single precision."""
    single = make(name, 64, dtype=torch.float32, convolution="token_shift")
    double = make(name, 64, convolution="token_shift")
    with torch.no_grad():
        single.strength.weight.fill_(1.0)
    double.load_state_dict(single.state_dict())
    x = (1 + 0.01 * draw(1, 96, 64)).float()
    result, exact = single(x)[0], double(x.double())[0]
    assert largest_difference(result.double(), exact) < 1e-4 * float(exact.detach().abs().max())


@pytest.mark.parametrize("strength", [-200.0, 200.0])
@pytest.mark.parametrize(
    "name", ["delta_net", "gated_delta_net", "gated_linear_attention", "hgrn2", "mlstm", "rg_lru"]
)
def test_saturated_gates_stay_finite_forward_and_backward(name, strength):
    unit = make(name, 64, dtype=torch.float32)
    x = (draw(2, 40, 64) * strength).float().requires_grad_()
    unit(x)[0].sum().backward()
    assert bool(torch.isfinite(unit(x)[0]).all())
    for label, parameter in [("input", x), *unit.named_parameters()]:
        assert bool(torch.isfinite(parameter.grad).all()), label


@pytest.mark.parametrize("length", LENGTHS)
def test_rg_lru_equals_a_loop_over_steps(length):
    unit, x = randomise(make("rg_lru", 32, hyper={"expand": 2})), draw(2, length, 32)
    u, gate = (x @ unit.project.weight.T).chunk(2, -1)
    u = unit.convolution(u)[0]
    h, rows = torch.zeros(2, 64).double(), []
    for t in range(length):
        recur, enter = sigmoid(u[:, t] @ unit.gates.weight.T + unit.gates_bias).chunk(2, -1)
        keep = ((1 + unit.forget.exp()).log() * -8 * recur).exp()
        h = keep * h + (1 - keep * keep).sqrt() * enter * u[:, t]
        rows.append((F.gelu(gate[:, t]) * h) @ unit.out.weight.T)
    assert largest_difference(unit(x)[0], torch.stack(rows, 1)) < EXACT


def test_rg_lru_starts_with_memories_from_ten_to_a_thousand_steps():
    keep = (-8 * (1 + make("rg_lru", 32).forget.exp()).log()).exp()
    assert float(keep[0].detach()) == pytest.approx(0.9)
    assert float(keep[-1].detach()) == pytest.approx(0.999)


@pytest.mark.parametrize("length", [1, 2, 7, 33])
def test_s4d_equals_its_recurrence(length):
    unit, x = randomise(make("s4d", 16, hyper={"modes": 4}), size=0.1), draw(2, length, 16)
    A = torch.complex(-unit.rate.exp(), unit.freq)
    keep = (A * unit.log_dt.exp()).exp()
    enter, leave = (keep - 1) / A, torch.complex(*unit.read)
    h, rows = torch.zeros(2, 4, 16, dtype=torch.complex128), []
    for t in range(length):
        h = keep * h + enter * x[:, t].unsqueeze(1)
        rows.append(2 * (leave * h).sum(1).real + unit.direct * x[:, t])
    a, b = (F.gelu(torch.stack(rows, 1)) @ unit.out.weight.T).chunk(2, -1)
    assert largest_difference(unit(x)[0], a * sigmoid(b)) < EXACT


@pytest.mark.parametrize("length", [1, 2, 7, 33])
def test_linear_recurrent_unit_equals_its_recurrence(length):
    unit = randomise(make("linear_recurrent_unit", 16, hyper={"states": 32}), size=0.1)
    x = draw(2, length, 16)
    logs = [
        complex(-math.exp(n), math.exp(a))
        for n, a in zip(unit.nu.tolist(), unit.theta.tolist(), strict=True)
    ]
    keep = torch.tensor([cmath.exp(log) for log in logs], dtype=torch.complex128)
    enter = torch.complex(*unit.enter.weight.chunk(2))
    leave = torch.complex(unit.read.weight[:, :32], -unit.read.weight[:, 32:])
    h, rows = torch.zeros(2, 32, dtype=torch.complex128), []
    for t in range(length):
        h = keep * h + unit.gamma * (x[:, t].to(h.dtype) @ enter.T)
        rows.append((h @ leave.T).real + unit.direct * x[:, t])
    assert largest_difference(unit(x)[0], torch.stack(rows, 1)) < EXACT


def test_linear_recurrent_unit_is_stable_wherever_its_parameters_go():
    for seed in range(5):
        unit = randomise(make("linear_recurrent_unit", 16), seed=seed, size=3.0)
        y = unit(draw(1, 400, 16))[0]
        assert bool(torch.isfinite(y).all())
        assert float((-unit.nu.exp()).exp().max().detach()) <= 1


@pytest.mark.parametrize("length", [1, 2, 7, 20])
def test_hyena_equals_double_sums(length):
    unit, x = randomise(make("hyena", 16, hyper={"width": 16, "bands": 4})), draw(2, length, 16)
    v, *gates = unit.convolution(x @ unit.project.weight.T)[0].chunk(3, -1)

    def kernel(lag):
        waves = [2 * math.pi * n * lag / 256 for n in range(1, 5)]
        features = torch.tensor(
            [lag / 256, *(math.cos(w) for w in waves), *(math.sin(w) for w in waves)],
            dtype=torch.float64,
        )
        hidden = torch.sin(torch.sin(features @ unit.first) @ unit.second) @ unit.last
        return ((-unit.log_rate.exp() * lag).exp() * unit.log_rate.exp() * hidden).chunk(2)

    for order, gate in enumerate(gates):
        taps = [kernel(lag)[order] for lag in range(length)]
        sums = [sum(taps[t - s] * v[:, s] for s in range(t + 1)) for t in range(length)]
        v = gate * (torch.stack(sums, 1) + unit.direct[order] * v)
    assert largest_difference(unit(x)[0], v @ unit.out.weight.T) < EXACT


@pytest.mark.parametrize("size", [0.3, 3.0])
@pytest.mark.parametrize("length", LENGTHS)
def test_mlstm_equals_its_stabilised_recurrence(length, size):
    unit, x = randomise(make("mlstm", 64), size=0.3), draw(2, length, 64)
    with torch.no_grad():
        unit.gates.weight *= size
    q, k, v = (by_head(part, 2) for part in (x @ unit.qkv.weight.T).chunk(3, -1))
    enter, forget = (x @ unit.gates.weight.T).transpose(1, 2).chunk(2, 1)
    enter = enter + unit.enter_bias.unsqueeze(-1)
    keep = F.logsigmoid(forget + unit.forget_bias.unsqueeze(-1))
    state, total = torch.zeros(2, 2, 32, 32).double(), torch.zeros(2, 2, 32).double()
    level, rows = torch.full((2, 2), -math.inf).double(), []
    for t in range(length):
        old, level = level, torch.maximum(level + keep[:, :, t], enter[:, :, t])
        kept = (old + keep[:, :, t] - level).exp().unsqueeze(-1)
        new = (enter[:, :, t] - level).exp().unsqueeze(-1) * k[:, :, t] / math.sqrt(32)
        state, total = kept.unsqueeze(-1) * state + outer(new, v[:, :, t]), kept * total + new
        scale = torch.maximum((q[:, :, t] * total).sum(-1).abs(), (-level).exp())
        rows.append(read(q[:, :, t], state) / scale.unsqueeze(-1))
    y = joined(unit.head_norm(torch.stack(rows, 2))[0])
    expected = (sigmoid(x @ unit.gate.weight.T) * y) @ unit.out.weight.T
    assert largest_difference(unit(x)[0], expected) < EXACT


@pytest.mark.parametrize("length", LENGTHS)
def test_linear_attention_equals_a_loop_over_steps(length):
    unit, x = randomise(make("linear_attention", 64)), draw(2, length, 64)
    q, k, v = (by_head(part, 2) for part in (x @ unit.qkv.weight.T).chunk(3, -1))
    q, k = (torch.where(part > 0, part + 1, part.exp()) for part in (q, k))
    turned = [unit.position(part.flatten(0, 1))[0].view_as(part) for part in (q, k)]
    state, total, rows = torch.zeros(2, 2, 32, 32).double(), torch.zeros(2, 2, 32).double(), []
    for t in range(length):
        state = state + outer(turned[1][:, :, t], v[:, :, t])
        total = total + k[:, :, t]
        scale = (q[:, :, t] * total).sum(-1, keepdim=True)
        rows.append(read(turned[0][:, :, t], state) / scale)
    expected = joined(torch.stack(rows, 2)) @ unit.out.weight.T
    assert largest_difference(unit(x)[0], expected) < EXACT


@pytest.mark.parametrize("chunk", [32, 64])
@pytest.mark.parametrize("length", LENGTHS)
def test_taylor_linear_attention_equals_a_loop_over_steps(length, chunk):
    unit = randomise(make("taylor_linear_attention", 64, hyper={"chunk": chunk}))
    x = draw(2, length, 64)
    q, k = (by_head(part, 2) for part in (x @ unit.qk.weight.T).chunk(2, -1))
    v = by_head(x @ unit.value.weight.T, 2)
    # State by order of the series: constant, linear, quadratic; values and their count together.
    v = torch.cat((v, torch.ones_like(v[..., :1])), -1)
    flat, line, square = 0, 0, 0
    rows = []
    for t in range(length):
        q_t, k_t, v_t = q[:, :, t], k[:, :, t], v[:, :, t]
        flat = flat + v_t
        line = line + outer(k_t, v_t)
        square = square + torch.einsum("bhi,bhj,bhv->bhijv", k_t, k_t, v_t)
        second = torch.einsum("bhi,bhj,bhijv->bhv", q_t, q_t, square) / (2 * 8)
        both = flat + read(q_t, line) / math.sqrt(8) + second
        rows.append(both[..., :-1] / both[..., -1:])
    expected = joined(torch.stack(rows, 2)) @ unit.out.weight.T
    assert largest_difference(unit(x)[0], expected) < EXACT
