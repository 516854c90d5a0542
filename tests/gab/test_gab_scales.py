"""Scales: the published numbers, and bringing a block to a scale."""

from __future__ import annotations

import sys

import commands
import pytest
from core_units import small, small_tree
from torch import nn

from genesys_engine.gab.compose import compose, load_block
from genesys_engine.gab.errors import InputError, ScaleError
from genesys_engine.gab.scales import SCALES, TOLERANCE, count_parameters, fit_scale, get_scale
from genesys_engine.gab.tree import grow

PUBLISHED = [
    ("14M", 128, 6, 5_280_384, 1e-3, 524_288, 50),
    ("31M", 256, 6, 12_920_064, 1e-3, 524_288, 40),
    ("70M", 512, 6, 35_277_312, 1e-3, 524_288, 30),
    ("125M", 768, 12, 109_566_720, 6e-4, 524_288, 20),
    ("350M", 1024, 24, 334_906_368, 3e-4, 524_288, 20),
    ("760M", 1536, 24, 728_851_968, 2.5e-4, 524_288, 20),
    ("1300M", 2048, 24, 1_273_792_512, 2e-4, 1_048_576, 20),
]


@pytest.mark.parametrize(
    ("name", "width", "blocks", "parameters", "lr", "batch", "ratio"), PUBLISHED
)
def test_published_scales(name, width, blocks, parameters, lr, batch, ratio):
    scale = get_scale(name)
    assert (scale.d_model, scale.n_blocks, scale.context) == (width, blocks, 2048)
    assert scale.reference_parameters(32_000) == parameters
    assert (scale.peak_lr, scale.batch_tokens, scale.tokens_per_parameter) == (lr, batch, ratio)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("0.2M", 0.15, 0.3), ("1M", 0.8, 1.2), ("4M", 3.5, 4.6)]
)
def test_laptop_scales_have_about_their_size(name, low, high):
    assert low < get_scale(name).reference_parameters(1024) / 1e6 < high
    assert get_scale(name).batch_tokens % get_scale(name).context == 0


def test_scales_are_ordered_by_compute():
    blocks = [s.reference_parameters(0) * s.tokens_per_parameter for s in SCALES.values()]
    assert blocks[3:] == sorted(blocks[3:])
    assert list(SCALES) == [scale.name for scale in SCALES.values()]


def test_an_unknown_scale_is_answered_with_near_ones():
    with pytest.raises(InputError, match="did you mean 125M"):
        get_scale("125m")
    with pytest.raises(InputError, match=r"scales: 0\.2M"):
        get_scale("huge")


class Sized(nn.Module):
    """A block of `per_width` * d_model parameters, plus `fixed` others."""

    per_width = 0
    fixed = 1

    def __init__(self, embed_dim, block_loc=(0, 1), device=None, dtype=None):
        super().__init__()
        self.bulk = nn.Linear(embed_dim, self.per_width, bias=False, device=device)
        self.rest = nn.Linear(1, self.fixed, bias=False, device=device)

    def forward(self, X, **Z):
        return X, Z


def sized(per_width: int, fixed: int = 1) -> type:
    return type("Sized", (Sized,), {"per_width": per_width, "fixed": fixed})


def test_a_block_near_the_reference_keeps_the_published_shape():
    scale = get_scale("14M")
    fit = fit_scale(sized(12 * 128 + 5, 128), scale, 32_000)
    assert (fit.config.d_model, fit.config.n_blocks, fit.config.context) == (128, 6, 2048)
    assert (fit.parameters, fit.ratio) == (fit.reference, 1.0)


def test_the_number_of_blocks_is_changed_first():
    scale = get_scale("70M")
    small_blocks = fit_scale(sized(12 * 512 // 3), scale, 1000)
    assert (small_blocks.config.d_model, small_blocks.config.n_blocks) == (512, 18)
    large_blocks = fit_scale(sized(12 * 512 * 3), scale, 1000)
    assert (large_blocks.config.d_model, large_blocks.config.n_blocks) == (512, 2)


@pytest.mark.parametrize(("per_width", "fixed"), [(100, 1), (12 * 64, 150_000)])
def test_the_width_is_changed_where_the_number_of_blocks_is_not_enough(per_width, fixed):
    # Too few parameters for four times the blocks; too many for a single block.
    fit = fit_scale(sized(per_width, fixed), get_scale("0.2M"), 1024)
    assert (fit.config.d_model > 64) if fixed == 1 else (fit.config.d_model < 64)
    assert fit.config.d_model % 16 == 0
    assert 1 <= fit.config.n_blocks <= 12
    assert abs(fit.ratio - 1) <= TOLERANCE


def test_a_block_that_fits_at_no_shape_is_refused_with_the_nearest():
    with pytest.raises(ScaleError, match="the nearest has") as caught:
        fit_scale(sized(1, 10_000_000), get_scale("0.2M"), 1024)
    assert caught.value.where == "scale 0.2M"
    with pytest.raises(ScaleError, match="within 20%"):
        fit_scale(sized(1), get_scale("350M"), 32_000)


def test_every_scale_fits_a_real_block_deterministically():
    block = load_block(compose(small_tree(channels=grow(small("Channels"), expand=4))))
    for scale in SCALES.values():
        fit = fit_scale(block, scale, 1024)
        assert abs(fit.ratio - 1) <= TOLERANCE
        assert fit.parameters == count_parameters(block, fit.config)
        assert fit.reference == scale.reference_parameters(1024)
        assert fit == fit_scale(block, scale, 1024)


def test_scales_units_trees_and_composition_need_no_torch():
    code = (
        "import sys, genesys_engine.gab, genesys_engine.gab.scales, genesys_engine.gab.compose\n"
        "import genesys_engine.gab.library\n"
        "genesys_engine.gab.library.seed('gpt').validate()\n"
        "assert 'torch' not in sys.modules"
    )
    commands.run([sys.executable, "-c", code], check=True, cwd=".")
