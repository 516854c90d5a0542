"""The Mamba-2 mixer: against a loop over time, and against transformers."""

import pytest
import torch
import torch.nn.functional as F
from seed_support import draw, largest_difference, make, randomise

HYPER = {"head_dim": 16, "d_state": 16}
CHILDREN = {
    "convolution": "short_convolution",
    "recurrence": "scalar_decay_recurrence",
    "gated_norm": "rms_norm",
}


def step_by_step(unit, x):
    """The state space model one step at a time, with a rolling window for the convolution."""
    width, heads = unit.out.in_features, unit.A_log.shape[0]
    kernel = unit.convolution.weight.flatten(1)  # (channels, 4)
    recent = torch.zeros(x.shape[0], kernel.shape[0], kernel.shape[1], dtype=x.dtype)
    state = torch.zeros(x.shape[0], heads, width // heads, 16, dtype=x.dtype)
    results = []
    for t in range(x.shape[1]):
        z, xBC, dt = (x[:, t] @ unit.project.weight.T).split((width, width + 32, heads), -1)
        recent = torch.cat((recent[..., 1:], xBC.unsqueeze(-1)), -1)
        xBC = F.silu((recent * kernel).sum(-1) + unit.convolution.bias)
        value, B, C = xBC.split((width, 16, 16), -1)
        value = value.unflatten(-1, (heads, -1))
        dt = torch.log1p((dt + unit.dt_bias).exp())
        keep = (-dt * unit.A_log.exp()).exp()
        state = keep[..., None, None] * state + torch.einsum("bh,bhp,bn->bhpn", dt, value, B)
        y = torch.einsum("bhpn,bn->bhp", state, C) + unit.D[:, None] * value
        y = y.flatten(1) * F.silu(z)
        y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() * unit.gated_norm.weight
        results.append(y @ unit.out.weight.T)
    return torch.stack(results, dim=1)


@pytest.mark.parametrize("length", [1, 3, 4, 63, 64, 65, 131])
def test_mixer_equals_a_loop_over_steps(length):
    unit = randomise(make("mamba2_mixer", 32, hyper=HYPER, **CHILDREN))
    x = draw(2, length, 32)
    assert largest_difference(unit(x)[0], step_by_step(unit, x)) < 1e-8


@pytest.mark.parametrize("length", [1, 29, 150])
def test_mixer_equals_transformers(length):
    from transformers.models.mamba2.configuration_mamba2 import Mamba2Config
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    unit = make("mamba2_mixer", 32, hyper=HYPER, dtype=torch.float32, **CHILDREN)
    randomise(unit, size=0.1)
    config = Mamba2Config(
        hidden_size=32, expand=2, num_heads=4, head_dim=16, state_size=16, n_groups=1,
        conv_kernel=4, chunk_size=32, use_bias=False, use_conv_bias=True, num_hidden_layers=1,
        layer_norm_epsilon=1e-5,
    )  # fmt: skip
    theirs = Mamba2Mixer(config, layer_idx=0)
    theirs.load_state_dict(
        {
            "in_proj.weight": unit.project.weight,
            "conv1d.weight": unit.convolution.weight.squeeze(2),
            "conv1d.bias": unit.convolution.bias,
            "dt_bias": unit.dt_bias,
            "A_log": unit.A_log,
            "D": unit.D,
            "norm.weight": unit.gated_norm.weight,
            "out_proj.weight": unit.out.weight,
        }
    )
    x = draw(2, length, 32, dtype=torch.float32)
    assert largest_difference(unit(x)[0], theirs(x)) < 1e-4


def test_starting_values_cover_the_published_ranges():
    unit = make("mamba2_mixer", 256, hyper={"head_dim": 16}).requires_grad_(False)
    dt, A = F.softplus(unit.dt_bias), unit.A_log.exp()
    assert float(dt.min()) == pytest.approx(0.001)
    assert float(dt.max()) == pytest.approx(0.1)
    assert (float(A.min()), float(A.max())) == pytest.approx((1.0, 16.0))
    assert bool((unit.D == 1).all())
