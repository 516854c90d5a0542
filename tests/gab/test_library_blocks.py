"""The library's channel mixers, norms, positions and blocks follow their formulas, in fp64."""

import math

import pytest
import torch
from seed_support import draw, largest_difference, make, randomise

EXACT = 1e-10


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def child(block, name, x):
    return getattr(block, name)(x)[0]


def test_channel_mixers_follow_their_formulas():
    x = draw(2, 5, 16)
    unit = randomise(make("squared_relu_mlp", 16))
    hidden = (x @ unit.up.weight.T).clamp(min=0) ** 2
    assert largest_difference(unit(x)[0], hidden @ unit.down.weight.T) < EXACT
    unit = randomise(make("geglu_mlp", 16))
    gate, up = (x @ unit.gate_up.weight.T).chunk(2, -1)
    assert largest_difference(unit(x)[0], (gelu(gate) * up) @ unit.down.weight.T) < EXACT


@pytest.mark.parametrize("experts", [2, 4, 8])
def test_a_mixture_is_the_weighted_sum_of_its_experts(experts):
    unit, x = randomise(make("mixture_mlp", 16, hyper={"experts": experts})), draw(2, 5, 16)
    raw = (x @ unit.router.weight.T).exp()
    share = raw / raw.sum(-1, keepdim=True)
    ups, downs = unit.up.weight.chunk(experts), unit.down.weight.chunk(experts, 1)
    expected = sum(
        share[..., e : e + 1] * (gelu(x @ ups[e].T) @ downs[e].T) for e in range(experts)
    )
    assert largest_difference(unit(x)[0], expected) < EXACT


def test_norms_follow_their_formulas():
    x = draw(2, 5, 16)
    squash, scale = (randomise(make(name, 16)) for name in ("dynamic_tanh", "scale_norm"))
    growth = (2 * squash.steepness * x).exp()
    expected = squash.weight * (growth - 1) / (growth + 1) + squash.bias
    assert largest_difference(squash(x)[0], expected) < EXACT
    lengths = scale(x)[0].norm(dim=-1)
    assert largest_difference(lengths, scale.length.expand_as(lengths)) < EXACT
    ratio = scale(x)[0] / x
    assert largest_difference(ratio, ratio[..., :1].expand_as(ratio)) < EXACT
    assert float(make("scale_norm", 64).length) == 8.0
    assert bool(torch.isfinite(scale(torch.zeros_like(x))[0]).all())


@pytest.mark.parametrize(("share", "turning"), [(0.25, 4), (0.5, 8), (0.75, 12)])
def test_a_part_of_the_channels_turns_and_products_see_distances_only(share, turning):
    unit = make("partial_rotary", 16, hyper={"share": share})
    same = draw(1, 1, 16).expand(1, 40, 16)
    turned, _ = unit(same)
    assert torch.equal(turned[..., turning:], same[..., turning:])
    assert bool((turned[0, 1:, :turning] != same[0, 1:, :turning]).all())
    half = turning // 2
    for i in range(half):
        plane = torch.complex(same[0, :, i], same[0, :, half + i])
        angle = torch.arange(40).double() * 10000.0 ** (-i / half)
        plane = plane * torch.polar(torch.ones(40).double(), angle)
        assert largest_difference(turned[0, :, i], plane.real) < EXACT
        assert largest_difference(turned[0, :, half + i], plane.imag) < EXACT
    product = turned[0] @ turned[0].T
    assert largest_difference(product[3:, 3:], product[:-3, :-3]) < EXACT


def test_partial_rotary_takes_any_width_and_no_position_changes_nothing():
    for width in (1, 2, 3, 4, 7):
        x = draw(2, 5, width)
        for share in (0.25, 0.5, 0.75):
            assert make("partial_rotary", width, hyper={"share": share})(x)[0].shape == x.shape
    assert make("no_position", 8)(x)[0] is x


def expected_of(name, block, x):
    """Return what the block should compute, from its own children."""
    if name == "deepnorm_block":
        weight = 6**0.25  # three blocks
        x = child(block, "norm_1", weight * x + child(block, "mixer", x))
        return child(block, "norm_2", weight * x + child(block, "mlp", x))
    if name == "output_norm_block":
        x = x + child(block, "norm_1", child(block, "mixer", x))
        return x + child(block, "norm_2", child(block, "mlp", x))
    if name == "layer_scale_block":
        x = x + block.scale_1 * child(block, "mixer", child(block, "norm_1", x))
        return x + block.scale_2 * child(block, "mlp", child(block, "norm_2", x))
    if name == "macaron_block":
        x = x + child(block, "mlp_1", child(block, "norm_1", x)) / 2
        x = x + child(block, "mixer", child(block, "norm_2", x))
        return x + child(block, "mlp_2", child(block, "norm_3", x)) / 2
    n = child(block, "norm_1", x)
    x = x + child(block, "mixer", n + child(block, "local_1", n))
    n = child(block, "norm_2", x)
    return x + child(block, "mlp", n + child(block, "local_2", n))


@pytest.mark.parametrize(
    "name",
    ["deepnorm_block", "output_norm_block", "layer_scale_block", "macaron_block", "canon_block"],
)
def test_blocks_wire_their_children_as_specified(name):
    block, x = randomise(make(name, 32, loc=(1, 3))), draw(2, 7, 32)
    assert largest_difference(block(x)[0], expected_of(name, block, x)) < EXACT


def test_hybrid_heads_average_two_normed_mixers():
    unit = randomise(make("hybrid_heads", 32, mixer_2="min_gru"))
    x = draw(2, 7, 32)
    parts = [
        unit.gain[i] * child(unit, f"norm_{i + 1}", child(unit, f"mixer_{i + 1}", x))
        for i in range(2)
    ]
    assert largest_difference(unit(x)[0], (parts[0] + parts[1]) / 2) < EXACT


def test_hyper_connections_carry_two_streams_through_all_blocks():
    blocks = [
        randomise(make("hyper_connection_block", 32, loc=(i, 3)), seed=i, size=0.1)
        for i in range(3)
    ]
    x = draw(2, 7, 32)
    streams, result, z = [x, x], x, {}
    for index, block in enumerate(blocks):
        result, z = block(result, **z)
        for sublayer, names in enumerate((("norm_1", "mixer"), ("norm_2", "mlp"))):
            read = block.read[sublayer]
            y = child(block, names[0], read[0] * streams[0] + read[1] * streams[1])
            y = child(block, names[1], y)
            keep, write = block.keep[sublayer], block.write[sublayer]
            streams = [
                keep[i, 0] * streams[0] + keep[i, 1] * streams[1] + write[i] * y for i in range(2)
            ]
        if index < 2:
            assert largest_difference(result, streams[0]) < EXACT
            assert largest_difference(z["second_stream"], streams[1]) < EXACT
    assert largest_difference(result, streams[0] + streams[1]) < EXACT


def test_hyper_connections_start_as_two_plain_residual_streams():
    block, x = make("hyper_connection_block", 32, loc=(0, 3)), draw(2, 7, 32)
    mixed = child(block, "mixer", child(block, "norm_1", x))
    y = child(block, "mlp", child(block, "norm_2", x + mixed))
    assert largest_difference(block(x)[0], x + mixed + y) < EXACT


@pytest.mark.parametrize("act", ["silu", "gelu", "mish"])
def test_a_local_gated_layer_sees_the_close_past(act):
    x = draw(2, 5, 16)
    unit = randomise(make("local_glu_mlp", 16, hyper={"act": act}, local="token_shift"))
    near = torch.cat((torch.zeros(2, 1, 16, dtype=x.dtype), x[:, :-1]), 1)
    gate, up = ((x + near) @ unit.gate_up.weight.T).chunk(2, -1)
    curves = {
        "silu": lambda v: v / (1 + (-v).exp()),
        "gelu": gelu,
        "mish": lambda v: v * torch.tanh(torch.log1p(v.exp())),
    }
    expected = (curves[act](gate) * up) @ unit.down.weight.T
    assert largest_difference(unit(x)[0], expected) < EXACT


@pytest.mark.parametrize("length", [1, 2, 9])
@pytest.mark.parametrize(("reach", "sizes"), [(2, (8, 8)), (3, (6, 5, 5)), (8, (2,) * 8)])
def test_groups_of_channels_come_from_earlier_positions(length, reach, sizes):
    x, start, expected = draw(2, length, 16), 0, torch.zeros(2, length, 16, dtype=torch.float64)
    for lag, size in enumerate(sizes):
        for t in range(lag, length):
            expected[:, t, start : start + size] = x[:, t - lag, start : start + size]
        start += size
    unit = make("multi_token_shift", 16, hyper={"reach": reach})
    assert torch.equal(unit(x)[0], expected)
