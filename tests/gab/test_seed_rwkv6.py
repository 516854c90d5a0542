"""RWKV-6 time and channel mixing equal their recurrent forms (arXiv 2404.05892)."""

import pytest
import torch
import torch.nn.functional as F
from seed_support import draw, largest_difference, make, randomise

CHILDREN = {"shift": "token_shift", "recurrence": "channel_decay_recurrence"}


def step_by_step(unit, x, width=16):
    """Time mixing with the state and the last position carried along."""
    batch, _, d_model = x.shape
    heads = d_model // width
    last = torch.zeros_like(x[:, 0])
    state = torch.zeros(batch, heads, width, width, dtype=x.dtype)
    results = []
    for t in range(x.shape[1]):
        now, back = x[:, t], last - x[:, t]
        low = torch.tanh((now + back * unit.mix_x) @ unit.mix_down).view(batch, 5, -1)
        w, k, v, r, g = (now + back * (unit.mix[i] + low[:, i] @ unit.mix_up[i]) for i in range(5))
        decay = unit.decay + torch.tanh(w @ unit.decay_down) @ unit.decay_up
        decay = (-decay.exp()).exp().view(batch, heads, width, 1)
        r, k, v = (
            (part @ linear.weight.T).view(batch, heads, width)
            for part, linear in ((r, unit.receptance), (k, unit.key), (v, unit.value))
        )
        new = torch.einsum("bhk,bhv->bhkv", k, v)
        bonus = unit.bonus.view(heads, width, 1)
        y = torch.einsum("bhk,bhkv->bhv", r, state + bonus * new)
        state = decay * state + new
        y = F.group_norm(y.flatten(1), heads, unit.norm_weight, unit.norm_bias, eps=64e-5)
        results.append((y * F.silu(g @ unit.gate.weight.T)) @ unit.out.weight.T)
        last = now
    return torch.stack(results, dim=1)


@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 71])
def test_time_mix_equals_a_loop_over_steps(length):
    unit = make("rwkv6_time_mix", 32, hyper={"head_dim": 16, "rank": 8}, loc=(1, 3), **CHILDREN)
    randomise(unit)
    x = draw(2, length, 32)
    assert largest_difference(unit(x)[0], step_by_step(unit, x)) < 1e-8


def test_channel_mix_equals_a_loop_over_steps():
    unit = randomise(make("rwkv6_channel_mix", 32, shift="token_shift"))
    x = draw(2, 9, 32)
    last = torch.zeros_like(x[:, 0])
    for t, y in enumerate(unit(x)[0].unbind(1)):
        k, r = (x[:, t] + (last - x[:, t]) * mix for mix in (unit.mix_k, unit.mix_r))
        hidden = (k @ unit.key.weight.T).clamp(min=0) ** 2
        expected = torch.sigmoid(r @ unit.receptance.weight.T) * (hidden @ unit.value.weight.T)
        assert largest_difference(y, expected) < 1e-8
        last = x[:, t]


def test_huge_decay_input_stays_finite():
    unit = make("rwkv6_time_mix", 32, dtype=torch.float32, **CHILDREN)
    with torch.no_grad():
        unit.decay.add_(1000.0)
    y, _ = unit(draw(2, 40, 32, dtype=torch.float32))
    y.square().sum().backward()
    grads = [p.grad for p in unit.parameters()]
    assert bool(torch.isfinite(y).all())
    assert all(bool(torch.isfinite(g).all()) for g in grads)


@pytest.mark.parametrize("loc", [(0, 1), (0, 12), (11, 12)])
def test_starting_values_at_every_depth(loc):
    unit = make("rwkv6_time_mix", 48, loc=loc, **CHILDREN)
    depth = loc[0] / max(1, loc[1] - 1)
    assert float(unit.decay[0]) == -6
    assert float(unit.decay[-1]) == pytest.approx(-1)
    assert float(unit.mix_x.max()) == 1  # the first channel looks one position back
    assert float(unit.mix_x.min()) >= 0
    assert float(unit.bonus[1]) == pytest.approx(depth * (1 - 1 / 47) + 0.1)
