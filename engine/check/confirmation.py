"""An audit of a design before it is named: a full audit and a blind test.

Every verification is cross-checked by a small sample; a block that sees what follows at few places
could slip through, and win the run.  So whoever is about to lead (see `confirmations`) is audited
once more in full, and its trained weights are asked about a larger sample of held-out places, in a
process that is given only what stands before them.  The score that they give there has to bear out
the one that the run knows.

A look is a task of the loop: its result enters the run in the order of the decisions.
"""

from __future__ import annotations

import math
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from genesys_engine.engine.check import audit
from genesys_engine.engine.check.blind_test import Model, blind_test
from genesys_engine.engine.common.randomness import derived_seed
from genesys_engine.engine.common.threads import DaemonPool
from genesys_engine.engine.jobs.replies import ConfirmReply
from genesys_engine.engine.jobs.results import ConfirmResult
from genesys_engine.engine.jobs.scores import Score
from genesys_engine.engine.jobs.task_result import InfrastructureFailure, TaskResult
from genesys_engine.engine.store.checkpoints import checkpoint_name
from genesys_engine.engine.store.run_store import Store, VerificationRow
from genesys_engine.gab.checks.report import Finding
from genesys_engine.gab.compose import compose
from genesys_engine.gab.errors import EnvironmentProblem, GenesysError, InputError
from genesys_engine.gab.scales import ModelConfig, get_scale
from genesys_engine.gab.tree import GABTree
from genesys_engine.plugins.api import Executor, Limits
from genesys_engine.plugins.corpus import Corpus

METRIC = "bits_per_byte"
_AUDIT_S = 900.0  # a slow machine must not disqualify a design
STDERRS = 4.0
_SHARE = 0.02  # of the claim, next to the noise: the two are not of the same tokens


@dataclass(frozen=True)
class Question:
    """The inputs of a confirmation, read from the store.

    `trained` is the verification at the highest rung whose weights were kept, None without one;
    `spread` the standard error of the reference's score there, NaN where it is not known.
    `audited` are the findings of the full audit that the design has passed already, None before;
    `context` the longest text of the run, which it is audited at.
    """

    design: int
    target: audit.Target
    seed: int
    scratch: Path
    trained: VerificationRow | None = None
    model: ModelConfig | None = None
    weights: Path = Path()
    spread: float = math.nan
    audited: tuple[Finding, ...] | None = None
    context: int = 128

    @classmethod
    def about(cls, store: Store, design: int) -> Question:
        """Read what is known of a design."""
        tree = GABTree.from_json(store.tree(design))
        parents = store.design(design).parents
        prints = {f"design {p}": store.report(p).measurements.fingerprint for p in parents}
        known = {name: value for name, value in prints.items() if value}
        target = audit.Target(f"design {design}", compose(tree), known)
        experiment = store.meta("experiment", {})
        seed = derived_seed(experiment.get("run", {}).get("seed", 0), "blind", design)
        scratch = store.folder / "scratch" / f"confirm-{design}"
        rungs = experiment.get("ladder", {}).get("rungs", ())
        contexts = [get_scale(rung["scale"]).context for rung in rungs]
        asked = cls(
            design,
            target,
            seed,
            scratch,
            audited=_audited(store, design),
            context=max(contexts, default=cls.context),
        )
        trained = _best_kept(store, design)
        if trained is None:
            return asked
        scale = experiment["ladder"]["rungs"][trained.rung]["scale"]
        fit = store.report(design).measurements.fits[scale]
        return replace(
            asked,
            trained=trained,
            model=fit.model,
            weights=_weights(store, trained).absolute(),
            spread=_spread(store, trained),
        )


class Confirmer:
    """Looks at designs a second time, next to the loop.

    Args:
        executor: runs the audits and the blind tests.
        corpus: folder of the corpus whose held-out text is asked about.
        limits: of a job that evaluates.
        threads: looks that may be running at once.
    """

    def __init__(self, executor: Executor, corpus: Path, limits: Limits, threads: int) -> None:
        self._executor = executor
        self._corpus = corpus
        self._limits = limits
        self._threads = DaemonPool(threads, "confirmer")

    def start(self, store: Store, design: int) -> Future[TaskResult[ConfirmResult]]:
        """Begin the audit of a design, with what the store holds of it now."""
        return self._threads.submit(self._look, Question.about(store, design))

    def close(self) -> None:
        """Forget what has not started."""
        self._threads.close()

    def _look(self, question: Question) -> TaskResult[ConfirmResult]:
        started = time.monotonic()
        try:
            found = look(question, self._executor, self._corpus, self._limits)
        except EnvironmentProblem as problem:
            raise InfrastructureFailure(str(problem)) from problem
        return TaskResult(found, {"confirmation_s": time.monotonic() - started})


def confirm(
    store: Store, design: int, executor: Executor, corpus: Path, limits: Limits
) -> ConfirmResult:
    """Audit a design in full and test it blindly; see `look`."""
    return look(Question.about(store, design), executor, corpus, limits)


def look(question: Question, executor: Executor, corpus: Path, limits: Limits) -> ConfirmResult:
    """Audit a design in full and test it blindly.

    Raises:
        EnvironmentProblem: the machine could not run the audit or the blind test.
    """
    confirmation = partial(ConfirmResult, question.design)
    findings = question.audited
    if findings is None:
        result = audit.audit(
            question.target,
            executor,
            limits=replace(audit.LIMITS, wall_s=_AUDIT_S),
            reference=audit.reference_source(),
            context=question.context,
        )
        findings = result.report.findings
        if not result.report.passed:
            codes = ", ".join(f.code for f in findings if f.severity == "error")
            return confirmation(findings, f"the full audit found {codes}")
    if question.trained is None or question.model is None:
        return confirmation(findings, "")
    claim = question.trained.scores[METRIC]
    claimed, spread = claim.value, _noise_of(claim, question.spread)
    model = Model(question.target.source, question.model, question.weights)
    try:
        score = blind_test(model, corpus, question.seed, question.scratch, executor, limits)
    except EnvironmentProblem:
        raise
    except GenesysError as error:
        _demand(corpus)
        return confirmation(findings, f"the blind test failed: {error.message}", claimed)
    if score is None:
        return confirmation(findings, "", claimed)
    problem = disagreement(claimed, score, spread)
    return confirmation(findings, problem, claimed, score.bits, score.stderr, score.seen)


def disagreement(claimed: float, score: ConfirmReply, spread: float = 0.0) -> str:
    """Return why a blind score does not bear out what the run knows, or ""; no number does not.

    Args:
        spread: standard error of the claim, whose windows are others.
    """
    if score.bits is None or score.stderr is None:
        return "its likelihoods in the blind test are not finite"
    reached = f"{score.bits:.3f} bits per byte (standard error {score.stderr:.3f})"
    if not score.bits - claimed <= STDERRS * math.hypot(score.stderr, spread) + _SHARE * claimed:
        return (
            f"it claims {claimed:.3f} and reaches {reached} in the blind test, where the next"
            " tokens are hidden: its score is too good to be true"
        )
    if score.problem:
        return f"it reaches {reached} in the blind test, and {score.problem}"
    return ""


def _noise_of(claimed: Score, spread: float) -> float:
    """Return the standard error of a claim, no more than that of the reference's: who claims a
    score could claim any error too."""
    if claimed.stderr is None or not math.isfinite(spread):
        return 0.0
    return min(claimed.stderr, spread)


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


def _audited(store: Store, design: int) -> tuple[Finding, ...] | None:
    """Return what the audit found that a design has passed at an earlier look."""
    since = store.meta("looks_from", 0)  # before a further rung the texts were shorter
    looks = (row for row in store.confirmations(design) if row.seq >= since and not row.problem)
    return next((row.found.findings for row in looks), None)


def _spread(store: Store, trained: VerificationRow) -> float:
    """Return the standard error of the reference's score at the same rung; NaN: not known."""
    reference = "seed:" + store.meta("experiment")["population"]["reference"]
    of = next((d.id for d in store.designs() if d.accepted and d.operator == reference), None)
    rows = [] if of is None else [r for r in store.verifications(of) if r.rung == trained.rung]
    known = [row.scores[METRIC].stderr for row in rows if METRIC in row.scores]
    return next((each for each in known if each is not None), math.nan)


def _demand(corpus: Path) -> None:
    """Raise `EnvironmentProblem` where a corpus is damaged, for which no design is to blame."""
    try:
        Corpus.open(corpus)
    except InputError as error:
        raise EnvironmentProblem(error.message, where=error.where, hint=error.hint) from error
