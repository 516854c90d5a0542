"""Held-out bits per byte: how well a model compresses text that it has never seen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from genesys_engine.plugins.api import Score
from genesys_engine.plugins.evaluators.options import HeldoutOptions
from genesys_engine.plugins.models import context_of, device_of, vocabulary_of
from genesys_engine.plugins.ratio import ratio

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from genesys_engine.plugins.corpus import Batch, Corpus

METRIC = "bits_per_byte"
CONTROL_EVERY = 4
MOST_LOGITS = 1 << 26  # of one forward pass, 256 MiB: with a large vocabulary fewer windows


class HeldoutEvaluator:
    """Scores `bits_per_byte` on held-out windows; lower is better.

    Total negative log2-likelihood of the unmasked targets over the bytes of text they stand for:
    exact for any tokenizer, and comparable between tokenizers.  The standard error is that of a
    ratio estimate over windows (Cochran 1977, Sampling Techniques, eq. 6.13).  `samples` holds
    the bits per byte of each window of the last model, NaN where a window holds no text.
    """

    Options = HeldoutOptions

    def __init__(self, options: HeldoutOptions | None = None, *, every: int = 1) -> None:
        self.options = options or HeldoutOptions()
        self._every = every  # of the windows, which are scored
        self.samples: dict[str, NDArray[np.float32]] = {}

    @staticmethod
    def metrics(options: HeldoutOptions, corpus: str) -> tuple[str, ...]:
        """Return the name of the score."""
        return (METRIC,)

    def for_control(self) -> HeldoutEvaluator:
        """Return the evaluator of an untrained model: the same, on every fourth window.

        That is enough to show that it is worse than the trained one.
        """
        return HeldoutEvaluator(self.options, every=CONTROL_EVERY * self._every)

    def evaluate(self, model: nn.Module, corpus: Corpus) -> dict[str, Score]:
        """Return the score of `model` at its own context length."""
        import numpy as np

        windows = corpus.heldout_windows(context_of(model), self.options.windows, self._every)
        nats = _window_nats(model, windows, self.options.batch_tokens)
        sizes = (corpus.byte_lengths[windows.targets] * windows.mask).sum(axis=1)
        bits = nats / math.log(2)
        value, error = ratio(bits, sizes)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.samples = {METRIC: np.where(sizes > 0, bits / sizes, np.nan).astype(np.float32)}
        stderr = error if len(bits) > 1 else None
        return {METRIC: Score(value, stderr, higher_is_better=False, n=len(bits))}


def _window_nats(model: nn.Module, windows: Batch, batch_tokens: int) -> NDArray[np.float64]:
    """Return the summed negative log-likelihood of each window (N,), float64."""
    import numpy as np
    import torch
    import torch.nn.functional as F

    device = device_of(model)
    length = windows.inputs.shape[1]
    most = min(batch_tokens, MOST_LOGITS // vocabulary_of(model))
    rows = max(1, most // length)
    parts = []
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(windows.inputs), rows):
            part = slice(start, start + rows)
            logits = model(torch.tensor(windows.inputs[part], device=device))
            targets = torch.tensor(windows.targets[part], device=device)
            losses = F.cross_entropy(
                logits.flatten(0, 1).float(), targets.flatten(), reduction="none"
            )
            kept = torch.tensor(windows.mask[part], device=device)
            masked = losses.view_as(targets).double().masked_fill(~kept, 0.0)
            parts.append(masked.sum(dim=1).cpu().numpy())
    return np.concatenate(parts)
