"""A second look at the best design, before a person believes it: a full audit and a blind test.

During a run a design's own process trains it, evaluates it and says what came out; it holds the
held-out text while it does so.  A block that lies there could win the run.  So the best one is
audited once more in full, and its trained weights predict held-out tokens in a process that was
given only what stands before them.  The score that is reckoned here from those predictions has
to bear out the one that was claimed.

These are facts of the machine, outside the event log: no decision of a run depends on them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.engine import auditing
from genesys_engine.engine.randomness import derived_seed
from genesys_engine.engine.store import Store, VerificationRow
from genesys_engine.engine.verifier import checkpoint_name
from genesys_engine.gab.compose import compose
from genesys_engine.gab.errors import EnvironmentProblem, GenesysError, InputError
from genesys_engine.gab.sandbox.scratch import remove, take_tensors
from genesys_engine.gab.tree import GABTree
from genesys_engine.plugins.api import Executor, Limits
from genesys_engine.plugins.blind_job import PREDICTIONS
from genesys_engine.plugins.corpus import Corpus

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PREDICT = "genesys_engine.plugins.blind_job:predict"
METRIC = "bits_per_byte"
PLACES, TEXTS = 16, 32  # lengths of a beginning, and texts for each
_STDERRS = 4.0
_SHARE = 0.02  # of the claim, beside the noise: the two are not of the same tokens


@dataclass(frozen=True)
class Confirmation:
    """What the second look at `design` found.

    `claimed` are the bits per byte that its own process reported, `blind` those reckoned from
    predictions without the answers, with their standard error; None where there was nothing to
    test, or where they are no finite numbers.  `problem` is a sentence, "" where all is well.
    """

    design: int
    findings: tuple[Mapping[str, Any], ...]
    problem: str
    claimed: float | None = None
    blind: float | None = None
    stderr: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as the store keeps it, with its line."""
        return {**asdict(self), "findings": [dict(f) for f in self.findings], "text": self.text}

    @property
    def text(self) -> str:
        """Say it in one line."""
        warnings = sum(found["severity"] == "warning" for found in self.findings)
        said = self.problem or f"full audit passed{f' ({warnings} warnings)' * bool(warnings)}"
        if self.blind is not None and not self.problem:
            said += f"; blind test {self.blind:.3f} against {self.claimed:.3f} bits per byte"
        return f"Second look at design {self.design}: {said}."


def confirm(
    store: Store, design: int, executor: Executor, corpus: Path, limits: Limits
) -> Confirmation:
    """Audit a design in full and test it blindly.

    Raises:
        EnvironmentProblem: the machine could not run the audit or the blind test.
    """
    tree = GABTree.from_json(store.tree(design))
    parents = store.design(design).parents
    prints = {f"design {p}": store.report(p)["measurements"].get("fingerprint") for p in parents}
    known = {name: value for name, value in prints.items() if value}
    target = auditing.Target(f"design {design}", compose(tree), known)
    result = auditing.audit(target, executor, reference=auditing.reference_source())
    findings = tuple(asdict(found) for found in result.report.findings)
    if not result.report.passed:
        codes = ", ".join(f["code"] for f in findings if f["severity"] == "error")
        return Confirmation(design, findings, f"the full audit found {codes}")
    best = _best_kept(store, design)
    if best is None:
        return Confirmation(design, findings, "")
    claimed = float(best.scores[METRIC]["value"])
    try:
        blind, stderr = _blind(store, target.source, best, executor, corpus, limits)
    except EnvironmentProblem:
        raise
    except GenesysError as error:
        return Confirmation(design, findings, f"the blind test failed: {error.message}", claimed)
    problem = disagreement(claimed, blind, stderr)
    return Confirmation(design, findings, problem, claimed, _finite(blind), _finite(stderr))


def disagreement(claimed: float, blind: float, stderr: float) -> str:
    """Return why a blind score does not bear out a claim, or ""; NaN does not."""
    if blind - claimed <= _STDERRS * stderr + _SHARE * claimed:
        return ""
    return (
        f"it claims {claimed:.3f} bits per byte and reaches {blind:.3f} (standard error"
        f" {stderr:.3f}) where it cannot know what follows: its score is too good to be true"
    )


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _best_kept(store: Store, design: int) -> VerificationRow | None:
    """Return the verification at the highest rung whose weights were kept."""
    rows = [
        row
        for row in store.verifications(design)
        if row.status == "ok" and METRIC in row.scores and _weights(store, row).exists()
    ]
    return max(rows, key=lambda row: (row.rung, -row.replicate), default=None)


def _weights(store: Store, row: VerificationRow) -> Path:
    return store.folder / "checkpoints" / checkpoint_name(row.design, row.rung, row.replicate)


def _blind(
    store: Store,
    source: str,
    row: VerificationRow,
    executor: Executor,
    corpus: Path,
    limits: Limits,
) -> tuple[float, float]:
    """Return bits per byte and their standard error.

    Raises:
        InputError: the job gave no predictions.
        EnvironmentProblem: the job could not be run, and the design is not to blame.
    """
    experiment = store.meta("experiment")
    scale = experiment["ladder"]["rungs"][row.rung]["scale"]
    fit = store.report(row.design)["measurements"]["fits"][scale]
    model = {key: fit[key] for key in ("d_model", "n_blocks", "vocab_size", "context")}
    opened = Corpus.open(corpus)
    seed = derived_seed(experiment["run"]["seed"], "blind", row.design)
    beginnings, answers = _questions(opened, model["context"], seed)
    weights = _weights(store, row).absolute()
    payload = {
        "source": source,
        "model": model,
        "checkpoint": str(weights),
        "beginnings": [texts.tolist() for texts in beginnings],
    }
    # Of all that a training job may read, the weights alone; and no accelerator.
    narrow = Limits(limits.wall_s, limits.memory_bytes, readable=(str(weights),))
    scratch = store.folder / "scratch" / "blind"
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        outcome = executor.submit(PREDICT, payload, scratch, narrow).result()
        if outcome.status == "infrastructure":
            raise EnvironmentProblem(f"the blind test could not be run: {outcome.reason}")
        if outcome.status != "ok":
            reason = outcome.reason.strip() or "no reason given"
            raise InputError(f"{outcome.status}: {reason.splitlines()[0]}")
        logits = _read(scratch, [len(part) for part in answers], model["vocab_size"])
    finally:
        remove(scratch)
    return score(logits, answers, opened.byte_lengths)


def _questions(
    corpus: Corpus, context: int, seed: int
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Draw beginnings of windows, spread over all lengths, and the tokens that follow them.

    Each window is used once, and never to its end: no beginning holds the answer to another.
    """
    import numpy as np

    rng = np.random.default_rng(seed % 2**63)
    windows = corpus.heldout_windows(context)
    places = np.array_split(np.arange(context - 1), min(PLACES, context - 1))
    drawn = rng.permutation(len(windows.inputs))[: PLACES * TEXTS]
    beginnings, answers = [], []
    for part, rows in zip(places, np.array_split(drawn, len(places)), strict=True):
        place = int(rng.choice(part))
        kept = rows[windows.mask[rows, place]]
        if len(kept):
            beginnings.append(windows.inputs[kept, : place + 1])
            answers.append(windows.targets[kept, place])
    return beginnings, answers


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


def score(
    logits: Sequence[NDArray[Any]],
    answers: Sequence[NDArray[np.int64]],
    byte_lengths: NDArray[np.int64],
) -> tuple[float, float]:
    """Return the bits per byte of the answers and the standard error of that ratio.

    The logits are normalised here, so that no distribution can hold more than everything
    (Cochran 1977, Sampling Techniques, eq. 6.13, for the error).

    Raises:
        InputError: there are fewer predictions than questions.
    """
    import numpy as np

    if [len(part) for part in logits] != [len(part) for part in answers]:
        raise InputError("there are not as many predictions as questions")
    table = np.concatenate(logits).astype(np.float64)
    right = np.concatenate(answers)
    sizes = byte_lengths[right].astype(np.float64)
    with np.errstate(invalid="ignore"):  # logits that are no numbers give none
        top = table.max(axis=1, keepdims=True)
        total = np.log(np.exp(table - top).sum(axis=1)) + top[:, 0]
        bits = (total - table[np.arange(len(right)), right]) / math.log(2)
        value = float(bits.sum() / sizes.sum())
        spread = float(np.sqrt(((bits - value * sizes) ** 2).sum() / (len(bits) - 1)))
    return value, spread / (math.sqrt(len(bits)) * float(sizes.mean()))
