"""Whether a trained model looks ahead in the very step that trains it.

Scores are made in eval mode, and a block may compute something else in a training: there the future
is in its input as well.  So the weights that a training left are asked in train mode, with a graph,
in the precision and in a batch of the shape of a training's step, for text that they were trained
on; and once more with other text behind a place.  What stands before the place must be as likely.

The same is asked of the weights that the training began with, after a few of its steps: how many
nobody there can know, nor what is drawn in the step that is looked at, nor whether it is the first
of those whose gradients are added up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from genesys_engine.plugins.corpus import Corpus
from genesys_engine.plugins.crosscheck import beyond_rounding
from genesys_engine.plugins.remote_model import log_likelihoods
from genesys_engine.plugins.sandbox.subject import Asked
from genesys_engine.plugins.trainers.stepping import IN_CACHE, micro_batches

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

PLACES = 8  # at least; a batch with fewer rows is changed several times
EARLY = 3
"""Fewer steps than these are taken before an untrained model is looked at.  A step costs as much as
three looks; of a training on 200,000 tokens all this is a sixtieth."""


def looks_ahead(
    subject: Asked,
    payload: Mapping[str, Any],
    corpus: Corpus,
    secret: Sequence[int],
    *,
    untrained: bool = False,
) -> str:
    """Say how what follows a place changes what is reported there in training; "" for not at all.

    Args:
        subject: serves the trained model (`model_subject`), which does not train any more; where
            it is `untrained`, steps of a training are taken first.
        payload: that of an evaluation.
        secret: seed of the places, and of all else that is drawn.
    """
    step = _Step(subject, payload, corpus, [*secret, 1 + untrained])
    if untrained:
        step.begin()
    whole = step.likely(range(len(step.cuts)), changed=False)
    seen = np.abs(np.concatenate([step.likely([n]) for n in range(len(step.cuts))]) - whole)
    if beyond_rounding(seen, np.abs(whole)) is not None:  # some kernels add in any order
        noise = np.abs(step.likely(range(len(step.cuts)), changed=False) - whole)
        seen = np.maximum(seen - noise, 0.0)
    found = beyond_rounding(seen, np.abs(whole))
    if found is None:
        return ""
    return (
        f"in a training step what follows a place changes what is said there, by {found.mean:.3f}"
        f" nats in the mean and beyond rounding at {found.places} of {len(seen)} places"
    )


class _Step:
    """A batch of training text, and for each of several runs a place in every row of it."""

    def __init__(
        self, subject: Asked, payload: Mapping[str, Any], corpus: Corpus, secret: Sequence[int]
    ) -> None:
        import torch

        context = payload["model"]["context"]
        rows = _sequences(payload, context)
        self._batches = corpus.batches(payload["seed"], rows, context)
        self._text, self._other = (
            torch.from_numpy(next(self._batches).inputs.copy()) for _ in range(2)
        )
        self._subject = subject
        self._shape = payload["model"]["vocab_size"]
        runs = math.ceil(PLACES / rows)
        self._rng = np.random.default_rng(secret)
        self.cuts = torch.from_numpy(self._rng.integers(1, max(2, context), size=(runs, rows)))
        how = self._rng.integers(1 << 31), self._rng.integers(2)
        self._how = {"seed": int(how[0]), "adds_up": bool(how[1])}

    def begin(self) -> None:
        """Have a few steps taken on other text; none on a GPU, whose memory may be full by now."""
        import torch

        steps = 0 if torch.cuda.is_available() else int(self._rng.integers(EARLY))
        for batch in islice(self._batches, steps):
            self._subject.ask("teach", {"progress": 0.0}, next(micro_batches(batch, None)))

    def likely(self, runs: Sequence[int], *, changed: bool = True) -> NDArray[np.float64]:
        """Return the log-likelihood (runs * rows,) of what follows the place before each cut.

        With `changed` there is other text from the cuts of the run on, of which there is one then.
        """
        import torch

        cuts = self.cuts[list(runs)]
        tokens = self._changed(cuts[0]) if changed else self._text
        rows = torch.arange(len(tokens)).repeat(len(cuts))
        places = cuts.flatten() - 1
        order = [tokens, rows, places]
        _, made = self._subject.ask("step", self._how, order)
        found = log_likelihoods(made, (len(rows), self._shape))
        following = self._text[rows, cuts.flatten().clamp_max(self._text.shape[1] - 1)]
        return found[torch.arange(len(rows)), following].double().numpy()

    def _changed(self, cuts: Tensor) -> Tensor:
        import torch

        ahead = torch.arange(self._text.shape[1]) >= cuts[:, None]
        return torch.where(ahead, self._other, self._text)


def _sequences(payload: Mapping[str, Any], context: int) -> int:
    """Return how many sequences a forward pass of the training has, at most: those that its options
    ask for, else what the trainer takes on a processor."""
    in_batch: int = payload["batch_tokens"] // context
    at_once: int = payload.get("micro_batch") or IN_CACHE // context
    return max(1, min(at_once, in_batch))
