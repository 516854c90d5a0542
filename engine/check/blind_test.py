"""The blind test: a trained model is asked about a larger sample of held-out places, twice.

Once with what follows in its input, and once, in another process, without: by the same code that
cross-checks every verification (`plugins/crosscheck.py`), over eight times as many texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from genesys_engine.engine.common.records import to_json
from genesys_engine.engine.jobs.replies import ConfirmReply
from genesys_engine.engine.jobs.subjects import serving
from genesys_engine.engine.jobs.worker_jobs import ConfirmJob
from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.gab.scales import ModelConfig
from genesys_engine.plugins.api import Executor, Limits
from genesys_engine.plugins.sandbox.scratch import remove

CONFIRM = "genesys_engine.plugins.evaluate_job:confirm"
TEXTS = 512
FEWEST = 32  # places: fewer give no standard error to speak of


@dataclass(frozen=True)
class Model:
    """The trained model that is asked: its composed source, its size, the file of its weights."""

    source: str
    config: ModelConfig
    weights: Path


def blind_test(
    model: Model, corpus: Path, seed: int, scratch: Path, executor: Executor, limits: Limits
) -> ConfirmReply | None:
    """Ask a trained model; None where the held-out text is too short to ask enough.

    Args:
        corpus: folder of the corpus whose held-out text is asked about.
        seed: of the draw, together with that text.
        limits: of a job that evaluates.

    Raises:
        InputError: the design gave no answer.
        EnvironmentProblem: the job could not be run, and the design is not to blame.
    """
    job = ConfirmJob(
        source=model.source,
        model=model.config,
        seed=seed % 2**31,
        device="auto" if limits.accelerator else "cpu",
        corpus=str(corpus),
        checkpoint=str(model.weights),
        texts=TEXTS,
    )
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        allowed = serving(limits, job.checkpoint)
        outcome = executor.submit(CONFIRM, to_json(job), scratch, allowed).result()
    finally:
        remove(scratch)
    if outcome.status == "infrastructure":
        raise EnvironmentProblem(f"the blind test could not be run: {outcome.reason}")
    if outcome.status != "ok" or outcome.value is None:
        reason = outcome.reason.strip() or "no reason given"
        raise InputError(f"{outcome.status}: {reason.splitlines()[0]}")
    try:
        found = ConfirmReply.model_validate(outcome.value)
    except ValidationError as error:
        raise InputError(f"its answer is malformed: {error.errors()[0]['msg']}") from error
    return found if found.places >= FEWEST else None
