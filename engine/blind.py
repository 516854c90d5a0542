"""The blind test: a trained model predicts held-out tokens that its process does not have.

A first job gets the beginnings of held-out texts and nothing else.  A second one gets the whole
windows that these texts begin, and predicts the same tokens at the same places.  A causal model
says the same both times but for rounding; one that is better where what follows is in its input
looks at it.  The scores are reckoned here, from logits; no job is believed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.gab.sandbox.scratch import remove, take_tensors
from genesys_engine.plugins.api import Executor, Limits
from genesys_engine.plugins.blind_job import PREDICTIONS
from genesys_engine.plugins.corpus import Corpus

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Tokens = NDArray[np.int64]

PREDICT = "genesys_engine.plugins.blind_job:predict"
PLACES, TEXTS = 16, 32  # lengths of a beginning, and texts for each
FEWEST = 32  # answers: fewer give no standard error to speak of
STDERRS = 4.0
SEEN_SHARE = 0.002  # of the blind score: what rounding may make of two shapes of one input


@dataclass(frozen=True)
class Model:
    """The trained model that is asked: its composed source, its size, the file of its weights."""

    source: str
    config: Mapping[str, int]
    weights: Path


@dataclass(frozen=True)
class Questions:
    """Windows (texts, context), the place up to which each is shown, and the token behind it."""

    windows: tuple[Tokens, ...]
    places: tuple[int, ...]
    answers: tuple[Tokens, ...]

    @property
    def beginnings(self) -> list[Tokens]:
        """What comes before the answers, and no more."""
        pairs = zip(self.windows, self.places, strict=True)
        return [texts[:, : place + 1] for texts, place in pairs]

    def __len__(self) -> int:
        """Return the number of answers."""
        return sum(map(len, self.answers))


@dataclass(frozen=True)
class BlindScore:
    """Bits per byte without what follows, and how much less they are with it in the input.

    `stderr` and `seen_stderr` are the standard errors of `bits` and of `seen`; of a model that
    sees only what came before `seen` is 0 but for rounding.
    """

    bits: float
    stderr: float
    seen: float
    seen_stderr: float

    @property
    def sees_the_future(self) -> bool:
        """Whether the model is better where what follows is in its input."""
        return self.seen > max(STDERRS * self.seen_stderr, SEEN_SHARE * self.bits)


def blind_test(
    model: Model, corpus: Corpus, seed: int, scratch: Path, executor: Executor, limits: Limits
) -> BlindScore | None:
    """Ask a trained model; None where the held-out text is too short to ask enough.

    Raises:
        InputError: a job gave no predictions.
        EnvironmentProblem: a job could not be run, and the design is not to blame.
    """
    asked = questions(corpus, model.config["context"], seed)
    if len(asked) < FEWEST:
        return None

    def bits(payload: Mapping[str, Any]) -> NDArray[np.float64]:
        logits = _predictions(model, payload, asked, scratch, executor, limits)
        return answer_bits(logits, asked.answers)

    blind = bits({"texts": [texts.tolist() for texts in asked.beginnings]})
    places = list(asked.places)
    seeing = bits({"texts": [texts.tolist() for texts in asked.windows], "places": places})
    sizes = byte_sizes(asked.answers, corpus)
    return BlindScore(*per_byte(blind, sizes), *per_byte(blind - seeing, sizes))


def questions(corpus: Corpus, context: int, seed: int) -> Questions:
    """Draw windows, each with a place, spread over all places, and the tokens that follow there.

    Each window is used once, and never to its end: no beginning holds the answer to another.
    """
    import numpy as np

    rng = np.random.default_rng(seed % 2**63)
    windows = corpus.heldout_windows(context)
    parts = np.array_split(np.arange(context - 1), min(PLACES, context - 1))
    drawn = rng.permutation(len(windows.inputs))[: PLACES * TEXTS]
    texts, places, answers = [], [], []
    for part, rows in zip(parts, np.array_split(drawn, len(parts)), strict=True):
        place = int(rng.choice(part))
        kept = rows[windows.mask[rows, place]]
        if len(kept):
            texts.append(windows.inputs[kept])
            places.append(place)
            answers.append(windows.targets[kept, place])
    return Questions(tuple(texts), tuple(places), tuple(answers))


def _predictions(
    model: Model,
    payload: Mapping[str, Any],
    asked: Questions,
    scratch: Path,
    executor: Executor,
    limits: Limits,
) -> list[NDArray[np.float32]]:
    """Have one job predict the answers, in an empty scratch folder."""
    about = {"source": model.source, "model": dict(model.config), "checkpoint": str(model.weights)}
    # Of all that a training job may read, the weights alone; and no accelerator.
    narrow = Limits(limits.wall_s, limits.memory_bytes, readable=(str(model.weights),))
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        outcome = executor.submit(PREDICT, {**about, **payload}, scratch, narrow).result()
        if outcome.status == "infrastructure":
            raise EnvironmentProblem(f"the blind test could not be run: {outcome.reason}")
        if outcome.status != "ok":
            reason = outcome.reason.strip() or "no reason given"
            raise InputError(f"{outcome.status}: {reason.splitlines()[0]}")
        return _read(scratch, [len(part) for part in asked.answers], model.config["vocab_size"])
    finally:
        remove(scratch)


def _read(scratch: Path, counts: Sequence[int], vocabulary: int) -> list[NDArray[np.float32]]:
    """Read the predictions that the job left; nothing about the file is believed.

    `counts` are the numbers of texts in each of its tensors.

    Raises:
        InputError: no such file, or not what was asked for.
    """
    from safetensors import SafetensorError, safe_open

    path = scratch / PREDICTIONS
    take_tensors(path, 1 << 30)
    wanted = {str(number): [count, vocabulary] for number, count in enumerate(counts)}
    try:
        with safe_open(path, framework="np") as file:
            for name, shape in wanted.items():
                part = file.get_slice(name)
                if part.get_dtype() != "F32" or part.get_shape() != shape:
                    raise InputError("the predictions are not what was asked for")
            return [file.get_tensor(name) for name in wanted]
    except SafetensorError as error:
        raise InputError(f"the predictions cannot be read: {error}") from error


def answer_bits(logits: Sequence[NDArray[Any]], answers: Sequence[Tokens]) -> NDArray[np.float64]:
    """Return the bits of each answer (answers,).

    The logits are normalised here, so that no distribution can hold more than everything.

    Raises:
        InputError: there are fewer predictions than questions.
    """
    import numpy as np

    if [len(part) for part in logits] != [len(part) for part in answers]:
        raise InputError("there are not as many predictions as questions")
    table = np.concatenate(logits).astype(np.float64)
    right = np.concatenate(answers)
    with np.errstate(invalid="ignore"):  # logits that are no numbers give none
        top = table.max(axis=1, keepdims=True)
        total = np.log(np.exp(table - top).sum(axis=1)) + top[:, 0]
        bits: NDArray[np.float64] = (total - table[np.arange(len(right)), right]) / math.log(2)
        return bits


def byte_sizes(answers: Sequence[Tokens], corpus: Corpus) -> NDArray[np.float64]:
    """Return the bytes of text that each answer stands for (answers,)."""
    import numpy as np

    sizes: NDArray[np.float64] = corpus.byte_lengths[np.concatenate(answers)].astype(np.float64)
    return sizes


def per_byte(bits: NDArray[np.float64], sizes: NDArray[np.float64]) -> tuple[float, float]:
    """Return bits per byte and the standard error of that ratio (Cochran 1977, Sampling
    Techniques, eq. 6.13)."""
    import numpy as np

    value = float(bits.sum() / sizes.sum())
    with np.errstate(invalid="ignore"):
        spread = float(np.sqrt(((bits - value * sizes) ** 2).sum() / (len(bits) - 1)))
    return value, spread / (math.sqrt(len(bits)) * float(sizes.mean()))
