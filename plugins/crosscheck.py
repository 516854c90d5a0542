"""Whether what follows a place in a text changes what a model says there.

A score is made from whole texts: the answer to each question stands in the very input.  While it is
made, a sample of places is drawn from what the model was asked; afterwards these are asked again,
of another process, which is given the text up to the place and no more.  A causal model says the
same both times but for rounding.

Neither process can tell what the other one is asked.  The first sees every text, and not which ones
are drawn; the second sees beginnings alone, each text at one place, and none that holds what
follows another: it has nothing to cheat with.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from genesys_engine.plugins.ratio import ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from genesys_engine.plugins.remote_model import RemoteModel

    Floats = NDArray[np.float64]

TEXTS = 64  # places that are asked again of what one evaluator has asked
LENGTHS = 8  # different lengths of beginnings: equal ones are read together
OVERLAP = 8  # tokens before a place by which a copy of its text is recognised
BEYOND = 0.1
"""Nats that rounding does not make of one place.

Measured in fp32 over all units and seeds of the library, the designs of a quickstart and the sound
blocks of the zoo and of the audit corpus, trained, between texts of 128 tokens and what they begin
with: 6e-6 at most over the whole vocabulary, but where a rounded choice flips (the k largest scores
of a sparse attention): 0.14 at one of 144 places, and 0.03 of the token that followed.  A block
that computes in bfloat16 rounds at 2^-8, a hundredth of a log-likelihood or less."""
FEWEST = 3  # places beyond it, more for the score than against it: a choice flips both ways
STDERRS, SHARE = 4.0, 0.002
"""Standard errors, and the share of the score, that the mean over the places may differ by."""


@dataclass(frozen=True)
class Place:
    """A sampled place: the tokens before it, the token that follows and its log-likelihood."""

    before: tuple[int, ...]
    following: int
    likely: float


class Sample:
    """Draws places while a model is asked; implements `remote_model.Watch`.

    Every text is drawn with the same chance, at one place, however the questions are cut into
    batches.  Places behind which nothing follows in the input are left out.

    Args:
        seed: of the sample, unknown to the model.
        texts: number of texts to sample.
    """

    def __init__(self, seed: Sequence[int], texts: int = TEXTS) -> None:
        self._rng = np.random.default_rng(seed)
        self._texts = texts
        self._kept: list[tuple[float, int, Place]] = []  # a heap: the largest key first
        self._number = 0
        self._places: dict[int, NDArray[np.int64]] = {}

    def note_all(self, tokens: Tensor, likely: Tensor) -> None:
        """Draw from the log-probabilities (B, T, V) at every place of tokens (B, T)."""
        rows, length = tokens.shape
        if length < 2:
            return
        if length not in self._places:
            self._places[length] = self._rng.integers(length - 1, size=LENGTHS)
        places = self._rng.choice(self._places[length], size=rows)
        for row, (key, place) in enumerate(zip(self._keys(rows), places.tolist(), strict=True)):
            if self._wanted(key):
                self._keep(key, tokens[row], place, likely[row, place])

    def note(self, tokens: Tensor, rows: Tensor, places: Tensor, likely: Tensor) -> None:
        """Draw from the log-probabilities (n, V) at n places of tokens (B, T)."""
        last = tokens.shape[1] - 1
        asked: dict[int, list[int]] = {}
        for number, (row, place) in enumerate(zip(rows.tolist(), places.tolist(), strict=True)):
            if place < last:
                asked.setdefault(row, []).append(number)
        for key, (row, numbers) in zip(self._keys(len(asked)), asked.items(), strict=True):
            number = numbers[int(self._rng.integers(len(numbers)))]
            if self._wanted(key):
                self._keep(key, tokens[row], int(places[number]), likely[number])

    @property
    def places(self) -> list[Place]:
        """The sampled places, in the order of sampling."""
        return [place for _, _, place in sorted(self._kept, key=lambda kept: -kept[0])]

    def _keys(self, count: int) -> list[float]:
        keys: list[float] = self._rng.random(count).tolist()
        return keys

    def _wanted(self, key: float) -> bool:
        return len(self._kept) < self._texts or key < -self._kept[0][0]

    def _keep(self, key: float, tokens: Tensor, place: int, likely: Tensor) -> None:
        *before, following = tokens[: place + 2].tolist()
        drawn = Place(tuple(before), following, float(likely[following]))
        self._number += 1
        heapq.heappush(self._kept, (-key, self._number, drawn))
        if len(self._kept) > self._texts:
            heapq.heappop(self._kept)


def independent(places: Sequence[Place]) -> list[Place]:
    """Return the places but those whose following token the text before another one tells."""
    tellers: dict[tuple[int, ...], set[int]] = {}
    for number, place in enumerate(places):
        text = place.before
        copies = [text[start : start + OVERLAP + 1] for start in range(len(text) - OVERLAP)]
        copies += [text[:end] for end in range(2, min(OVERLAP, len(text)) + 1)]
        for copy in copies:
            tellers.setdefault(copy, set()).add(number)
    return [
        place
        for number, place in enumerate(places)
        if not tellers.get((*place.before[-OVERLAP:], place.following), set()) - {number}
    ]


def asked_again(model: RemoteModel, places: Sequence[Place]) -> list[float]:
    """Return the log-likelihood of what follows each place, of a model that is given what comes
    before it alone."""
    import torch

    found = [math.nan] * len(places)
    for numbers in _of_one_length(places, model.rows):
        tokens = torch.tensor([places[number].before for number in numbers])
        rows = torch.arange(len(numbers))
        likely = model.logits_at(tokens, rows, torch.full_like(rows, tokens.shape[1] - 1))
        for number, row in zip(numbers, likely, strict=True):
            found[number] = float(row[places[number].following])
    return found


def _of_one_length(places: Sequence[Place], rows: Any) -> Iterator[list[int]]:
    """Yield the numbers of places behind equally many tokens, as many as are read at a time."""
    lengths: dict[int, list[int]] = {}
    for number, place in enumerate(places):
        lengths.setdefault(len(place.before), []).append(number)
    for length in sorted(lengths):
        numbers, most = lengths[length], rows(length)
        yield from (numbers[start : start + most] for start in range(0, len(numbers), most))


@dataclass(frozen=True)
class Beyond:
    """A gain in nats that rounding does not make: in the mean, and at how many places."""

    mean: float
    places: int


def beyond_rounding(seen: Floats, score: Floats) -> Beyond | None:
    """Return how much likelier the truth is at two places or more; None where it is rounding.

    Args:
        seen: nats by which the truth is likelier, at each place.
        score: the nats that it costs there.
    """
    better, worse = int((seen > BEYOND).sum()), int((seen < -BEYOND).sum())
    mean, error = float(seen.mean()), float(seen.std(ddof=1) / math.sqrt(len(seen)))
    if better - worse < FEWEST and mean <= max(STDERRS * error, SHARE * float(score.mean())):
        return None
    return Beyond(mean, better)


@dataclass(frozen=True)
class Comparison:
    """Log-likelihoods in nats of what follows n places: where it stands in the input (`whole`),
    and where it does not (`blind`); parallel arrays with the tokens (`following`)."""

    whole: Floats
    blind: Floats
    following: NDArray[np.int64]

    def contradiction(self) -> str:
        """Say how the places contradict a score; "" where they bear it out."""
        if not (np.isfinite(self.whole).all() and np.isfinite(self.blind).all()):
            return "a likelihood is no finite number"
        if len(self.whole) < 2:
            return ""
        found = beyond_rounding(self.whole - self.blind, np.abs(self.blind))
        if found is None:
            return ""
        return (
            f"where what follows stands in its input the truth is {found.mean:.3f} nats likelier in"
            f" the mean, and beyond rounding at {found.places} of {len(self.blind)} places: the"
            " score is too good to be true"
        )

    def to_json(self, byte_lengths: NDArray[np.int64]) -> dict[str, Any]:
        """Return `places` (their number), `bits` per byte without what follows, how much less they
        are with it (`seen`), the standard errors `stderr` and `seen_stderr`, None where these are
        no finite numbers, and the `problem`, "" for none."""
        found: dict[str, Any] = {"places": len(self.following), "problem": self.contradiction()}
        if len(self.following) > 1:
            sizes = byte_lengths[self.following].astype(np.float64)
            blind, whole = (-nats / math.log(2) for nats in (self.blind, self.whole))
            of = (("bits", "stderr", blind), ("seen", "seen_stderr", blind - whole))
            for name, error, bits in of:
                numbers = ratio(bits, sizes)
                for key, number in zip((name, error), numbers, strict=True):
                    found[key] = number if math.isfinite(number) else None
        return found


def compare(places: Sequence[Place], again: Sequence[float]) -> Comparison:
    """Pair the reports of places with the tokens that follow and `again` without them."""
    return Comparison(
        np.array([place.likely for place in places], dtype=np.float64),
        np.array(again, dtype=np.float64),
        np.array([place.following for place in places], dtype=np.int64),
    )
