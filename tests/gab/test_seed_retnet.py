"""Multi-scale retention equals its recurrent form (arXiv 2307.08621, eq. 6)."""

import math

import pytest
import torch
import torch.nn.functional as F
from seed_support import draw, largest_difference, make, randomise
from test_seed_gpt import turned

CHILDREN = {"recurrence": "scalar_decay_recurrence", "head_norm": "rms_norm"}


def step_by_step(unit, x, heads=2, width=16):
    q, k = (x @ unit.qk.weight.T).chunk(2, -1)
    q, k = (part.unflatten(-1, (heads, width)).transpose(1, 2) for part in (q, k))
    q, k = (turned(part.flatten(0, 1)).view_as(part) for part in (q, k))
    v, gate = (x @ unit.value_gate.weight.T).chunk(2, -1)
    v = v.unflatten(-1, (heads, -1)).transpose(1, 2)
    gamma = torch.tensor([1 - 1 / 32, 1 - 1 / 512], dtype=x.dtype)  # the ends for two heads
    state = torch.zeros(x.shape[0], heads, width, v.shape[-1], dtype=x.dtype)
    results = []
    for t in range(x.shape[1]):
        new = torch.einsum("bhk,bhv->bhkv", k[:, :, t] / math.sqrt(width), v[:, :, t])
        state = gamma[:, None, None] * state + new
        y = torch.einsum("bhk,bhkv->bhv", q[:, :, t], state)
        y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() * unit.head_norm.weight
        results.append((F.silu(gate[:, t]) * y.flatten(1)) @ unit.out.weight.T)
    return torch.stack(results, dim=1)


@pytest.mark.parametrize("value_expand", [1, 2])
@pytest.mark.parametrize("length", [1, 2, 63, 65, 130])
def test_mixer_equals_a_loop_over_steps(length, value_expand):
    hyper = {"head_dim": 16, "value_expand": value_expand}
    unit = randomise(make("multi_scale_retention", 32, hyper=hyper, **CHILDREN))
    x = draw(2, length, 32)
    assert largest_difference(unit(x)[0], step_by_step(unit, x)) < 1e-8
