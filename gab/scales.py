"""Model scales: three for a laptop, and the seven published ones (Genesys, arXiv 2506.20249).

A scale fixes a reference size.  A block of any design is brought to within 20 % of it by
`fit_scale`, which changes the number of blocks first and the width second and allocates no
weight.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from genesys_engine.gab.errors import InputError, ScaleError
from genesys_engine.gab.layers import Layers, read_layers, structure_of

if TYPE_CHECKING:
    import torch

TOLERANCE = 0.2
WIDTH_STEP = 16
_MAX_DEEPER = 4  # a fitted model has at most this many times the scale's blocks


@dataclass(frozen=True)
class Scale:
    """A size of model with the way to train it.

    `context` and `batch_tokens` in tokens; `peak_lr` of AdamW; `tokens_per_parameter` times the
    reference parameters is the published training length.
    """

    name: str
    d_model: int
    n_blocks: int
    context: int
    peak_lr: float
    batch_tokens: int
    tokens_per_parameter: int

    def reference_parameters(self, vocab_size: int) -> int:
        """Return the parameters of the reference model at this scale, with a tied head.

        Per block 12 d^2 + 6 d (attention 4 d^2, gated MLP 8 d^2, norms and small vectors), the
        embedding, and the final norm.
        """
        d = self.d_model
        return vocab_size * d + self.n_blocks * (12 * d * d + 6 * d) + d


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a language model around a block."""

    d_model: int
    n_blocks: int
    vocab_size: int
    context: int


@dataclass(frozen=True)
class Fit:
    """A block brought to a scale: its configuration, its parameters, the reference, the ratio."""

    config: ModelConfig
    parameters: int
    reference: int
    ratio: float


_TABLE = (
    # name, d_model, blocks, context, peak lr, batch tokens, tokens per parameter
    Scale("0.2M", 64, 3, 128, 3e-3, 4096, 20),
    Scale("1M", 128, 4, 128, 3e-3, 4096, 20),
    Scale("4M", 256, 5, 256, 2e-3, 8192, 20),
    Scale("14M", 128, 6, 2048, 1e-3, 524_288, 50),
    Scale("31M", 256, 6, 2048, 1e-3, 524_288, 40),
    Scale("70M", 512, 6, 2048, 1e-3, 524_288, 30),
    Scale("125M", 768, 12, 2048, 6e-4, 524_288, 20),
    Scale("350M", 1024, 24, 2048, 3e-4, 524_288, 20),
    Scale("760M", 1536, 24, 2048, 2.5e-4, 524_288, 20),
    Scale("1300M", 2048, 24, 2048, 2e-4, 1_048_576, 20),
)
SCALES: dict[str, Scale] = {scale.name: scale for scale in _TABLE}


def get_scale(name: str) -> Scale:
    """Return the scale of this name.

    Raises:
        InputError: there is none; the hint names the nearest.
    """
    if name in SCALES:
        return SCALES[name]
    near = difflib.get_close_matches(name, SCALES, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"scales: {', '.join(SCALES)}"
    raise InputError(f"unknown scale {name!r}", hint=hint)


def fit_scale(
    block_class: Any,
    scale: Scale,
    vocab_size: int,
    count: Callable[[ModelConfig], int] | None = None,
    layers: Layers | None = None,
) -> Fit:
    """Find the model of this block nearest to the scale's published shape within 20 % of its size.

    The number of blocks is changed first, at the scale's width, up to four times; then the width,
    in multiples of 16, between half and double.  Where layers differ, a stack shows every kind and
    repeats a pattern in full.  Models are built on the meta device: nothing is allocated.
    Deterministic.  Where the block is in another process, `count` asks there for the parameters of
    a model, `layers` says how its layers differ, and no class is needed.

    Raises:
        ScaleError: no such model exists; the message gives the nearest.
    """
    reference = scale.reference_parameters(vocab_size)
    count = count or partial(count_parameters, block_class)
    layers = layers or read_layers(partial(structure_of, block_class))
    nearest: Fit | None = None
    for width in _widths(scale.d_model):
        for fit in _depths(count, layers, scale, width, vocab_size, reference):
            if abs(fit.ratio - 1) <= TOLERANCE:
                return fit
            if nearest is None or abs(fit.ratio - 1) < abs(nearest.ratio - 1):
                nearest = fit
    assert nearest is not None, "the scale's own shape is tried first"
    shape = f"{nearest.config.n_blocks} blocks of width {nearest.config.d_model}"
    raise ScaleError(
        f"no model of this block has {reference:,} parameters within {TOLERANCE:.0%}; "
        f"the nearest has {nearest.parameters:,} ({shape})",
        where=f"scale {scale.name}",
        hint="give the block more parameters if it has few, fewer if it has many",
    )


def _widths(d_model: int) -> Iterator[int]:
    """Yield the width, then its neighbours, nearest first, from half to double.

    Neighbours are 16 apart, or a sixteenth of large widths, so that a block that fits nowhere is
    known soon.
    """
    yield d_model
    step = max(1, d_model // 16 // WIDTH_STEP) * WIDTH_STEP
    for distance in range(step, d_model + 1, step):
        yield d_model + distance
        if d_model - distance >= max(WIDTH_STEP, d_model // 2):
            yield d_model - distance


def _depths(
    count: Callable[[ModelConfig], int],
    layers: Layers,
    scale: Scale,
    width: int,
    vocab_size: int,
    reference: int,
) -> Iterator[Fit]:
    """Yield the fit with the scale's number of blocks, then with the number that fits best."""
    tried: set[int] = set()
    n_blocks = layers.whole(scale.n_blocks)
    while n_blocks not in tried:
        tried.add(n_blocks)
        config = ModelConfig(width, n_blocks, vocab_size, scale.context)
        parameters = count(config)
        yield Fit(config, parameters, reference, parameters / reference)
        shell = (vocab_size + 1) * width  # embedding and final norm
        per_block = max(1.0, (parameters - shell) / n_blocks)
        wanted = round((reference - shell) / per_block)
        n_blocks = layers.whole(min(wanted, _MAX_DEEPER * scale.n_blocks))


def count_parameters(block_class: Any, config: ModelConfig) -> int:
    """Return the number of parameters of the language model, built on the meta device."""
    return sum(parameter.numel() for parameter in meta_model(block_class, config).parameters())


def meta_model(block_class: Any, config: ModelConfig) -> torch.nn.Module:
    """Return the language model on the meta device, where nothing is allocated."""
    from genesys_engine.gab.meta import on_meta
    from genesys_engine.gab.model import LanguageModel

    model: torch.nn.Module = on_meta(lambda: LanguageModel(block_class, config, device="meta"))
    return model
