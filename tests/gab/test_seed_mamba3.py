"""The Mamba-3 mixer: against a loop whose state turns, and its limits."""

import math

import pytest
import torch
import torch.nn.functional as F
from seed_support import draw, largest_difference, make, randomise

HYPER = {"head_dim": 16, "d_state": 16}
CHILDREN = {"b_norm": "rms_norm", "c_norm": "rms_norm", "recurrence": "scalar_decay_recurrence"}


def mixer(**hyper):
    return make("mamba3_mixer", 32, hyper={**HYPER, **hyper}, **CHILDREN)


def turned(state, angle):
    """Return a state (B, H, P, N) with channels i and i + 4 turned back by an angle (B, H, 4)."""
    pair = torch.complex(state[..., :4], state[..., 4:8]) * torch.exp(-1j * angle).unsqueeze(2)
    return torch.cat((pair.real, pair.imag, state[..., 8:]), -1)


def normed(part, weight):
    return part / (part.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight


def step_by_step(unit, x):
    """The rule one step at a time: the state itself turns, and the last input is remembered."""
    width, heads = unit.out.in_features, unit.D.shape[0]
    state = torch.zeros(len(x), heads, width // heads, 16, dtype=torch.float64)
    last, results = torch.zeros_like(state), []
    for t in range(x.shape[1]):
        parts = (x[:, t] @ unit.project.weight.T).split(
            (width, width, 16, 16, heads, heads, heads, 4), -1
        )
        z, value, B, C, raw, rate, mix, angle = parts
        B = normed(B, unit.b_norm.weight)[:, None] + unit.b_bias
        C = normed(C, unit.c_norm.weight)[:, None] + unit.c_bias
        dt = torch.log1p((raw + unit.dt_bias).exp())[..., None, None]
        keep = (-dt * torch.log1p(rate.exp())[..., None, None].clamp(min=1e-4)).exp()
        share = (1 / (1 + (-mix).exp()))[..., None, None]
        value = value.unflatten(-1, (heads, -1))
        entered = torch.einsum("bhp,bhn->bhpn", value, B)
        turn = math.pi * dt.squeeze(-1) * torch.tanh(angle)[:, None]
        state = keep * turned(state + (1 - share) * dt * last, turn) + share * dt * entered
        last = entered
        y = torch.einsum("bhpn,bhn->bhp", state, C) + unit.D[:, None] * value
        results.append((y.flatten(1) * F.silu(z)) @ unit.out.weight.T)
    return torch.stack(results, dim=1)


@pytest.mark.parametrize("length", [1, 2, 5, 64, 65, 131])
def test_mixer_equals_a_loop_whose_state_turns(length):
    unit, x = randomise(mixer()), draw(2, length, 32)
    assert largest_difference(unit(x)[0], step_by_step(unit, x)) < 1e-8


def test_angles_are_bounded_and_long_inputs_stay_finite():
    unit = make("mamba3_mixer", 32, hyper=HYPER, dtype=torch.float32, **CHILDREN)
    x = 100 * draw(1, 2048, 32, dtype=torch.float32)
    y = unit(x)[0]
    y.sum().backward()
    assert bool(torch.isfinite(y).all())
    assert all(bool(torch.isfinite(p.grad).all()) for p in unit.parameters())


def test_a_state_that_turns_by_half_a_turn_changes_its_sign_with_every_token():
    """What no decay does: the part of the state that turns has the sign of the parity."""
    state = torch.ones(1, 2, 16, 16, dtype=torch.float64)
    half = torch.full((1, 2, 4), math.pi, dtype=torch.float64)
    assert largest_difference(turned(state, half)[..., :8], -state[..., :8]) < 1e-12
    unit, x = mixer(), draw(1, 3, 32).expand(1, 3, 32)
    with torch.no_grad():
        unit.project.weight[-4:] = 1e6 * x[0, 0].sign()  # tanh saturates at 1
        unit.dt_bias.fill_(math.log(math.e - 1))
    assert largest_difference(unit(x)[0], step_by_step(unit, x)) < 1e-8
