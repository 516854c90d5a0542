"""A short training run on real text: the block must learn, and not more than can be learnt.

A small byte-level model is trained for a few steps.  Its loss on text that it has not seen must
fall below that of the untrained model, faster and further than that of the control, the same model
without blocks, which is a bigram model trained by gradient (its slope is what the embedding alone
gives).  And it must not fall below what a table of all bigrams of the whole text achieves: nobody
learns so much so soon, so the block sees what it is to predict.  A block that is behind the
control is trained for longer before it is called slow.

What a training is judged by is shown when it has ended, to the trained model and to an untrained
one; what trains afterwards is judged by other text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.gab.scales import ModelConfig
from genesys_engine.plugins.auditor import trainee
from genesys_engine.plugins.auditor.candidate import AnswerError, Model, only
from genesys_engine.plugins.auditor.causality import probe_rows
from genesys_engine.plugins.auditor.numbers import derived
from genesys_engine.plugins.auditor.subject import VOCABULARY as PROBE_VOCABULARY
from genesys_engine.plugins.auditor.subject import Subject
from genesys_engine.plugins.auditor.text import VOCABULARY, training_text, unseen_text

STEPS = 8
# A block that writes at full size into the residual stream starts from a larger loss, and is
# behind the control at first.  Published mixers are ahead of it after some thirty steps.
LONGER_STEPS = 80
# Over three seeds the zoo is no farther from the thresholds with 64 tokens than with 48.
BATCH, LENGTH = 8, 48
_WIDTH, _BLOCKS = 64, 2
_PROBED = (31, 64)  # every cut of the first length, several of the second
# Nats per byte.  Ten times the spread of the loss between seeds.
LEARNS = 0.1
# Share of the bigram table's loss below which nothing honest comes in so few steps.
TOO_GOOD = 0.9


class Trainee(Protocol):
    """A model that can be trained, wherever it is."""

    def logits(self, tokens: Tensor) -> Tensor:
        """Return the logits of tokens (rows, time), in eval mode."""

    def take_steps(self, inputs: Tensor, targets: Tensor, seed: int) -> Tensor:
        """Take a step for each batch (steps, rows, time); return the logits before each."""


@dataclass(frozen=True)
class Trained:
    """A short training: the loss of unseen text before and after it, and the last steps' losses,
    in nats per byte."""

    before: float
    after: float
    last: float

    @property
    def gain(self) -> float:
        """Nats per byte by which the loss fell."""
        return self.before - self.after


class Candidates:
    """The candidate's model: in its own process, which is given inputs and asked for logits.

    Targets it is given for training text alone; what it is judged by comes without.
    """

    def __init__(self, subject: Subject) -> None:
        config = asdict(_config(_blocks(subject)))
        self._candidate = subject.candidate
        self.model = self._candidate.build("trainee", config=config, seed=subject.weights_seed)

    def logits(self, tokens: Tensor) -> Tensor:
        """See `Trainee`."""
        _, made = self._candidate.of(self.model.eval(), "logits", tokens)
        return _logits(made, (*tokens.shape, VOCABULARY))

    def take_steps(self, inputs: Tensor, targets: Tensor, seed: int) -> Tensor:
        """See `Trainee`."""
        _, made = self._candidate.of(self.model, "train", inputs, targets, seed=seed)
        return _logits(made, (*inputs.shape, VOCABULARY))


class Control:
    """The control, the same model without blocks: nothing of a candidate, so it is trained here."""

    def __init__(self, seed: int) -> None:
        self._model = trainee.new_model(None, _config(0), seed)

    def logits(self, tokens: Tensor) -> Tensor:
        """See `Trainee`."""
        return trainee.logits_of(self._model, tokens)

    def take_steps(self, inputs: Tensor, targets: Tensor, seed: int) -> Tensor:
        """See `Trainee`."""
        return trainee.take_steps(self._model, inputs, targets, seed)


def _logits(made: Sequence[Tensor], shape: tuple[int, ...]) -> Tensor:
    (logits,) = only(made)
    if tuple(logits.shape) != shape or not logits.is_floating_point():
        text = f"Tokens of {shape[:-1]} give logits of {tuple(logits.shape)}."
        raise AnswerError("shape.wrong", text)
    return logits


def _blocks(subject: Subject) -> int:
    """Return how many blocks are trained: enough for every kind of layer."""
    return subject.kinds.whole(_BLOCKS)


def _config(blocks: int) -> ModelConfig:
    return ModelConfig(_WIDTH, blocks, VOCABULARY, LENGTH)


def check_training(subject: Subject, measurements: dict[str, Any]) -> Iterator[Finding]:
    """`training.flat`, `training.slow`, `training.too_good` and `causality.leak` once trained.

    Fills `measurements["training"]`.
    """
    control = control_run(subject.seed)
    candidate = Candidates(subject)
    trained = train(candidate, Candidates(subject), subject.seed)
    table = bigram_loss()
    losses: dict[str, float] = {
        "untrained": trained.before,
        "trained": trained.after,
        "last_training_loss": trained.last,
        "control_gain": control.gain,
        "bigram_table": table,
        "tokens": STEPS * BATCH * LENGTH,
    }
    rounded = {k: round(v, 4) if math.isfinite(v) else str(v) for k, v in losses.items()}
    measurements["training"] = {**rounded, "text": "python-stdlib"}
    verdict = _verdict(trained, control, table)
    if verdict is not None and math.isfinite(trained.after) and verdict[0] != "training.too_good":
        verdict = _longer_look(subject, verdict, losses, measurements["training"])
    if verdict is not None:
        code, text = verdict
        place = subject.place_of(subject.block())
        evidence: dict[str, Evidence] = {**losses, "seed": subject.seed}
        yield finding(code, text, _short(evidence), place=place)
        return
    found = _leaks(subject, candidate.model)
    if found is not None:
        yield found


def _verdict(trained: Trained, control: Trained, table: float) -> tuple[str, str] | None:
    """Return code and sentence of what is wrong, NaN included."""
    steps = f"{STEPS} steps"
    if not all(map(math.isfinite, (trained.before, trained.after, trained.last))):
        return "training.flat", f"The loss is not finite before or after {steps}."
    best = min(trained.after, trained.last)
    if not best >= TOO_GOOD * table:
        text = f"After {steps} the loss is {best:.2f} nats per byte; "
        return "training.too_good", text + f"a table of all bigrams reaches {table:.2f}."
    if not trained.gain >= LEARNS:
        text = f"The loss went from {trained.before:.3f} to {trained.after:.3f} nats "
        return "training.flat", text + f"per byte in {steps}."
    if not (trained.gain > control.gain and trained.after < control.after):
        text = (
            f"{steps} gain {trained.gain:.2f} nats per byte, down to {trained.after:.2f}; without "
        )
        text += f"any block they gain {control.gain:.2f}, down to {control.after:.2f}."
        return "training.slow", text
    return None


def _longer_look(
    subject: Subject, verdict: tuple[str, str], losses: dict[str, float], measured: dict[str, Any]
) -> tuple[str, str] | None:
    """Return the verdict where the control is still ahead after `LONGER_STEPS`, else None.

    Adds both losses to what is reported.
    """
    model, untrained = Candidates(subject), Candidates(subject)
    trained = train(model, untrained, subject.seed, steps=LONGER_STEPS)
    control = control_run(subject.seed, LONGER_STEPS)
    losses |= {
        "tokens": LONGER_STEPS * BATCH * LENGTH,
        "trained_longer": trained.after,
        "control_longer": control.after,
    }
    if trained.after < control.after:
        measured |= {"trained_longer": round(trained.after, 4)}
        return None
    if verdict[0] != "training.slow":
        return verdict
    text = f"After {LONGER_STEPS} steps the loss is {trained.after:.2f} nats per byte with "
    return "training.slow", text + f"the block and {control.after:.2f} without any."


def _leaks(subject: Subject, model: Model) -> Finding | None:
    """Probe the trained model for leaks: a gate may open while it learns."""
    shape: dict[str, Any] = {"width": _WIDTH, "blocks": _blocks(subject), "vocabulary": VOCABULARY}
    probed = Subject(subject.candidate, subject.source, _PROBED[-1], subject.seed, **shape)
    # The probe's tokens are the first 97 bytes of 256: ordinary ones to this model.
    assert PROBE_VOCABULARY <= VOCABULARY
    subject.candidate.have(model, "to_double")
    return probe_rows(probed, model, "trained", _PROBED)


def train(model: Trainee, untrained: Trainee, seed: int, *, steps: int = STEPS) -> Trained:
    """Have a byte-level model trained for some steps, next to its like; deterministic.

    Every loss is computed here, from logits.
    """
    batches = _batches(seed, steps)
    inputs, targets = batches[..., :-1].contiguous(), batches[..., 1:].contiguous()
    logits = model.take_steps(inputs, targets, derived(seed, "training"))
    last = [_loss(*pair) for pair in zip(logits[-2:], targets[-2:], strict=True)]
    unseen = _unseen(steps)
    shown, following = unseen[:, :-1], unseen[:, 1:]
    before, after = (_loss(each.logits(shown), following) for each in (untrained, model))
    return Trained(before, after, sum(last) / 2)


@cache
def control_run(seed: int, steps: int = STEPS) -> Trained:
    """Train the control."""
    model, untrained = (Control(derived(seed, "weights")) for _ in range(2))
    return train(model, untrained, seed, steps=steps)


@cache
def bigram_loss() -> float:
    """Return the loss on unseen text of an interpolated table of all bigrams of the training text.

    Witten-Bell weights (Witten and Bell 1991, method C), as in the engine's bigram control.
    """
    text = torch.frombuffer(bytearray(training_text()), dtype=torch.uint8).long()
    pairs = torch.bincount(text[:-1] * VOCABULARY + text[1:], minlength=VOCABULARY**2)
    counts = pairs.view(VOCABULARY, VOCABULARY).double()
    single = (counts.sum(0) + 1) / (counts.sum() + VOCABULARY)
    kinds = (counts > 0).sum(1, keepdim=True).clamp_min(1)
    table = (counts + kinds * single) / (counts.sum(1, keepdim=True) + kinds)
    rows = _unseen(STEPS)
    return float(-table.log()[rows[:, :-1], rows[:, 1:]].mean())


def _batches(seed: int, steps: int) -> Tensor:
    """Return (steps, batch, length + 1) tokens from random places of the training text."""
    text = torch.frombuffer(bytearray(training_text()), dtype=torch.uint8).long()
    generator = torch.Generator().manual_seed(derived(seed, "batches"))
    starts = torch.randint(len(text) - LENGTH - 1, (steps, BATCH, 1), generator=generator)
    return text[starts + torch.arange(LENGTH + 1)]


def _unseen(steps: int) -> Tensor:
    """Return (8, length + 1) tokens, evenly spread over text that no training gets; others for
    each number of steps."""
    text = torch.frombuffer(bytearray(unseen_text()), dtype=torch.uint8).long()
    last = len(text) - LENGTH - 1
    shift = 0 if steps == STEPS else last // 16
    places = torch.linspace(0, last - 2 * shift, 8).long()[:, None] + shift
    return text[places + torch.arange(LENGTH + 1)]


def _loss(logits: Tensor, targets: Tensor) -> float:
    return float(functional.cross_entropy(logits.flatten(0, 1), targets.flatten()))


def _short(evidence: Mapping[str, Evidence]) -> dict[str, Evidence]:
    return {
        k: round(v, 4) if isinstance(v, float) and math.isfinite(v) else v
        for k, v in evidence.items()
    }
