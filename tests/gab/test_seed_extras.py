"""The units beside the seeds compute what their specifications say, written out step by step."""

import math

import pytest
import torch
from seed_support import draw, largest_difference, make, randomise


def silu(x):
    return x / (1 + (-x).exp())


@pytest.mark.parametrize("length", [1, 2, 3, 8, 21, 64])
def test_min_gru_equals_a_loop_over_steps(length):
    unit = randomise(make("min_gru", 32, hyper={"expand": 2}))
    x = draw(2, length, 32)
    h, results = torch.zeros(2, 64, dtype=x.dtype), []
    for t in range(length):
        raw, candidate, gate = (x[:, t] @ unit.project.weight.T).chunk(3, -1)
        take = 1 / (1 + (-raw - unit.forget).exp())
        h = (1 - take) * h + take * candidate
        results.append((silu(gate) * h) @ unit.out.weight.T)
    assert largest_difference(unit(x)[0], torch.stack(results, 1)) < 1e-8


@pytest.mark.parametrize("length", [1, 2, 7, 20])
def test_long_convolution_equals_a_double_sum(length):
    unit = randomise(make("causal_long_convolution", 16, hyper={"modes": 2}))
    x = draw(2, length, 16)
    u, gate = (x @ unit.project.weight.T).chunk(2, -1)

    def kernel(lag):
        angle = unit.frequency * lag
        wave = unit.cosine * angle.cos() + unit.sine * angle.sin()
        return ((-unit.log_rate.exp() * lag).exp() * wave).sum(0)

    y = torch.stack(
        [sum(kernel(t - s) * u[:, s] for s in range(t + 1)) for t in range(length)], dim=1
    )
    expected = (silu(gate) * (y + unit.direct * u)) @ unit.out.weight.T
    assert largest_difference(unit(x)[0], expected) < 1e-8


def test_local_mixers_see_the_positions_they_name():
    x = draw(2, 9, 16)
    pool, convolve = (randomise(make(n, 16)) for n in ("causal_max_pool", "short_convolution"))
    shifted, _ = make("token_shift", 16)(x)
    for t in range(9):
        window = x[:, max(0, t - 3) : t + 1]
        assert largest_difference(pool(x)[0][:, t], window.amax(1) * pool.gain) < 1e-12
        taps = convolve.weight.flatten(1).T[-window.shape[1] :]
        assert (
            largest_difference(convolve(x)[0][:, t], (window * taps).sum(1) + convolve.bias) < 1e-9
        )
        before = x[:, t - 1] if t else torch.zeros_like(x[:, 0])
        assert torch.equal(shifted[:, t], before)


def test_norms_and_plain_mlp_follow_their_formulas():
    x = draw(2, 5, 16)
    rms, layer, mlp = (randomise(make(n, 16)) for n in ("rms_norm", "layer_norm", "gelu_mlp"))
    expected = x / (x.square().mean(-1, True) + 1e-5).sqrt() * rms.weight
    assert largest_difference(rms(x)[0], expected) < 1e-12
    centred = x - x.mean(-1, True)
    expected = centred / (centred.square().mean(-1, True) + 1e-5).sqrt() * layer.weight
    assert largest_difference(layer(x)[0], expected + layer.bias) < 1e-12
    hidden = x @ mlp.up.weight.T
    expected = (hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))) @ mlp.down.weight.T
    assert largest_difference(mlp(x)[0], expected) < 1e-10


def test_gates_follow_their_formulas_and_start_open():
    x = draw(2, 5, 16)
    sigmoid, low = (make(n, 16) for n in ("sigmoid_gate", "low_rank_silu_gate"))
    zeros = torch.zeros_like(x)
    assert float(sigmoid(zeros)[0].detach().mean()) == pytest.approx(1 / (1 + math.exp(-2)))
    assert float(low(zeros)[0].detach().mean()) == pytest.approx(1 / (1 + math.exp(-1)))
    randomise(sigmoid), randomise(low)
    raw = x @ sigmoid.gate.weight.T + sigmoid.open
    assert largest_difference(sigmoid(x)[0], 1 / (1 + (-raw).exp())) < 1e-10
    raw = x @ low.down.weight.T @ low.up.weight.T
    assert largest_difference(low(x)[0], silu(1 + raw)) < 1e-10


def wired(block, x):
    """Return what the block should compute, from its own children."""

    def child(name, y):
        return getattr(block, name)(y)[0]

    if hasattr(block, "norm_4"):
        x = x + child("norm_2", child("mixer", child("norm_1", x)))
        return x + child("norm_4", child("mlp", child("norm_3", x)))
    if hasattr(block, "norm"):
        normed = child("norm", x)
        mlp = child("mlp", normed) if hasattr(block, "mlp") else 0
        return x + child("mixer", normed) + mlp
    normed = child("norm_1", x)
    gate = child("gate", normed) if hasattr(block, "gate") else 1
    x = x + gate * child("mixer", normed)
    return x + child("mlp", child("norm_2", x))


@pytest.mark.parametrize(
    "name", ["gated_block", "parallel_block", "pre_norm_block", "residual_block", "sandwich_block"]
)
def test_blocks_wire_their_children_as_specified(name):
    block, x = randomise(make(name, 32)), draw(2, 7, 32)
    assert largest_difference(block(x)[0], wired(block, x)) < 1e-10
