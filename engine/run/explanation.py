"""What a design owes to each of its parts: an ablation with fresh, paired training seeds.

What tells the design from the seed that it descends from, or from another design of the run, is
found in the trees (`operators.ablation`).  The design, the other one, and the design without each
part are then trained at one rung with the same seeds, which the run has used for nothing.  Each
result is kept in the cache of trainings when it arrives, so that an explanation that was
interrupted continues where it was, and one with more seeds trains only these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

from genesys_engine.engine.check.design_check import DesignCheck
from genesys_engine.engine.common.records import to_json
from genesys_engine.engine.common.steps import Steps
from genesys_engine.engine.common.temporary import temporary_folder
from genesys_engine.engine.config.kept import kept_sets
from genesys_engine.engine.evaluate.verification import DEVICE_S, Verified
from genesys_engine.engine.evaluate.verifier import Verifier
from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.engine.jobs.facts import number as fact
from genesys_engine.engine.jobs.results import VerifyResult
from genesys_engine.engine.jobs.task_result import patiently
from genesys_engine.engine.jobs.worker_jobs import Trial
from genesys_engine.engine.run.assembly import (
    demand_machine,
    load,
    noise_cache,
    open_executor,
    open_trials,
    shown,
)
from genesys_engine.engine.run.context import RunContext
from genesys_engine.engine.run.lifecycle import prepare_corpus
from genesys_engine.engine.run.own_seeds import kept_seeds
from genesys_engine.engine.score.explanation import Explanation, Trained, explained
from genesys_engine.engine.score.fitness import Measure, Reading, Unmeasured
from genesys_engine.engine.score.noise_floor import noise_floor
from genesys_engine.engine.store.names import design_names, find_design, label, scale_names
from genesys_engine.engine.store.replicates import FRESH
from genesys_engine.engine.store.run_store import EXPERIMENT, Store
from genesys_engine.engine.views.explanations import EXPLANATIONS
from genesys_engine.engine.views.lineage import ancestry
from genesys_engine.gab.compose import compose
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.tree import GABTree
from genesys_engine.operators.ablation import parts

HINT = (
    "trainings that ended are kept: fix the cause (see `genesys-engine doctor`), then give the same"
    " command again"
)
EXPLAINS = 2 * FRESH
"""The first `replicate` of an explanation: no training of a run has its seed."""


@dataclass(frozen=True)
class Variant:
    """One model to be trained: the design, what it is compared with, or it without a part.

    `path` is empty for the first two; `problem` says why there is nothing to train, or "".
    """

    path: str
    change: str
    tree: GABTree
    problem: str = ""


@dataclass(frozen=True)
class Ablation:
    """What an explanation will train, and what that costs.

    `variants` begin with the design and the `base`; `device_s` is what one training of the design
    took at this rung, with its evaluation.
    """

    design: int
    base: int
    base_name: str
    rung: int
    scale: str
    seeds: int
    variants: tuple[Variant, ...]
    device_s: float
    workers: int

    @property
    def trainings(self) -> int:
        """How many trainings there are at most."""
        return self.seeds * len({each.tree.digest for each in self.variants if not each.problem})

    @property
    def seconds(self) -> float:
        """How long they take, were none of them known and all as fast as the design."""
        return self.trainings * self.device_s / self.workers


def ablation(
    store: Store, design: str, *, base: str | None, scale: str | None, seeds: int
) -> Ablation:
    """Return what explaining a design takes.

    Args:
        design: a number or the name of a seed.
        base: what it is compared with; left out, the seed that it descends from.
        scale: of the rung; left out, the highest that the design was verified at.

    Raises:
        InputError: there is no such design, nothing of it was changed, or it was not verified.
    """
    number, names = find_design(store, design), design_names(store.designs())
    called = label(number, names)
    if number in names and base is None:
        hint = "explain a child (`genesys-engine leaderboard` lists them), or give a --base"
        raise InputError(
            f"{called} is a seed: nothing of it was changed", where="DESIGN", hint=hint
        )
    other = _base(store, number, base, names)
    if not store.design(other).accepted:
        hint = "name one that was verified (`genesys-engine leaderboard` lists them)"
        raise InputError(
            f"{label(other, names)} was rejected by its check", where="--base", hint=hint
        )
    rung = _rung(store, number, scale, called)
    tree, against = (GABTree.from_json(store.tree(each)) for each in (number, other))
    found = parts(tree, against)
    if not found:
        hint = "name another one as --base"
        raise InputError(
            f"{called} is the same as {label(other, names)}", where="--base", hint=hint
        )
    variants = [Variant("", called, tree), Variant("", label(other, names), against)]
    variants += [Variant(part.path, part.change, part.without, part.problem) for part in found]
    costs = [
        fact(row.facts, DEVICE_S)
        for row in store.verifications(number)
        if row.rung == rung and row.status == "ok"
    ]
    return Ablation(
        number,
        other,
        label(other, names),
        rung,
        scale_names(store)[rung],
        seeds,
        tuple(variants),
        fmean(costs),
        store.meta("experiment")["run"]["workers"],
    )


def _base(store: Store, design: int, base: str | None, names: Mapping[int, str]) -> int:
    """Return what a design is compared with."""
    if base is not None:
        return find_design(store, base)
    founder = ancestry(store, design)[0].id
    if founder == design:
        raise InputError(
            f"{label(design, names)} has no parents, so that nothing says what was changed",
            where="DESIGN",
            hint=f"name what it is to be compared with: --base {next(iter(names.values()), 1)}",
        )
    return founder


def _rung(store: Store, design: int, scale: str | None, called: str) -> int:
    """Return the rung to train at."""
    scales = scale_names(store)
    rungs = {row.rung for row in store.verifications(design) if row.status == "ok"}
    if not rungs:
        row = store.design(design)
        why = "it was rejected by its check" if not row.accepted else "no training of it succeeded"
        hint = "see it with: genesys-engine show RUN DESIGN"
        raise InputError(f"{called} was not verified: {why}", where="DESIGN", hint=hint)
    if scale is None:
        return max(rungs)
    known = [scales[rung] for rung in sorted(rungs)]
    if scale not in known:
        hint = f"it was at {', '.join(known)}"
        raise InputError(f"{called} was not verified at {scale}", where="--rung", hint=hint)
    return scales.index(scale)


def explain(store: Store, asked: Ablation, say: Callable[[str], None]) -> Explanation:
    """Train what an explanation needs, keep it in the run, and return it.

    Args:
        store: open for writing: the run does not continue meanwhile.

    Raises:
        InputError: the run's text or machine is not as it was, or the design itself fails.
    """
    kept = [*kept_sets(store.meta), *kept_seeds(store)]
    setup = load(store.folder / EXPERIMENT, kept)
    demand_machine(setup)
    context = setup.on(prepare_corpus(store, setup.experiment, say))
    with temporary_folder("explain") as folder:
        rows = _Trainer(context, folder, asked).train(say)
    noise = noise_floor(store).noise[asked.rung]
    found = explained(
        rows,
        design=asked.design,
        base=asked.base_name,
        scale=asked.scale,
        pair=None if noise is None else noise.pair,
    )
    _keep(store, found)
    return found


def _keep(store: Store, found: Explanation) -> None:
    """Keep an explanation in its run, in the place of an earlier one of the design."""
    with store.transaction():
        kept = {**store.meta(EXPLANATIONS, {}), str(found.design): to_json(found)}
        store.set_meta(EXPLANATIONS, kept)


class _Trainer:
    """Checks and trains the variants of one explanation."""

    def __init__(
        self,
        context: RunContext,
        folder: Path,
        asked: Ablation,
    ) -> None:
        self.context, self.folder, self.asked = context, folder, asked
        digests = [each.tree.digest for each in asked.variants]
        # By variant: the first one that is the same model, which is trained once.
        self.first = [digests.index(digest) for digest in digests]

    def train(self, say: Callable[[str], None]) -> list[Trained]:
        """Return what every variant scored with every seed."""
        asked, context = self.asked, self.context
        with open_executor(context, shown(say)) as executor:
            check = DesignCheck(executor, context.check, self.folder)
            trials, cache = open_trials(context, executor), noise_cache(context)
            with closing(Verifier(trials, context.verify, self.folder, cache)) as verifier:
                say(f"checking {len(asked.variants)} designs")
                reports = [self._checked(check, at) for at in range(len(asked.variants))]
                self._demand_both(reports)
                runs: dict[tuple[int, int], Future[Verified]] = {}
                for seed in range(asked.seeds):
                    for at, report in enumerate(reports):
                        if report is not None and report.passed and self.first[at] == at:
                            runs[at, seed] = self._start(verifier, at, seed, report)
                results = self._collected(verifier, reports, runs, say)
        return [self._row(at, report, results) for at, report in enumerate(reports)]

    def _demand_both(self, reports: Sequence[DesignReport | None]) -> None:
        """Refuse a design, or what it is compared with, that cannot be trained."""
        for variant, report in zip(self.asked.variants[:2], reports, strict=False):
            if report is not None and not report.passed:
                why = f"{variant.change} cannot be trained: {report.findings[0].message}"
                raise InputError(why, where=self.asked.scale)

    def _collected(
        self,
        verifier: Verifier,
        reports: Sequence[DesignReport | None],
        runs: Mapping[tuple[int, int], Future[Verified]],
        say: Callable[[str], None],
    ) -> dict[tuple[int, int], Verified]:
        """Return all results; a line for each that was not known."""
        new = {key for key, future in runs.items() if not future.done()}
        steps, results = Steps(say, len(new)), {}
        for (at, seed), future in runs.items():
            report = reports[at]
            assert report is not None
            again = partial(self._start, verifier, at, seed, report)
            results[at, seed] = patiently(partial(_result, future, again), "a training", HINT)
            if (at, seed) in new:
                variant = self.asked.variants[at]
                steps.done()
                where = f" ({variant.path})" if variant.path else ""
                steps.tell(f"seed {seed + 1} of {self.asked.seeds}: {variant.change}{where}")
        return results

    def _checked(self, check: DesignCheck, at: int) -> DesignReport | None:
        variant = self.asked.variants[at]
        if variant.problem:
            return None
        source = compose(variant.tree)
        return patiently(lambda n: check.report(source, f"{at}-{n}"), "a check", HINT)

    def _start(
        self, verifier: Verifier, at: int, seed: int, report: DesignReport
    ) -> Future[Verified]:
        asked, tree = self.asked, self.asked.variants[at].tree
        fit, replicate = report.measurements.fits[asked.scale], EXPLAINS + seed
        job = verifier.job(compose(tree), fit.model, asked.rung, replicate)
        trial = Trial(asked.design, tree.digest, asked.rung, asked.scale, replicate)
        seq = at * asked.seeds + seed
        return verifier.start(
            seq, job, None, trial, parameters=fit.parameters, shared=True, passed=True
        )

    def _row(
        self,
        at: int,
        report: DesignReport | None,
        results: Mapping[tuple[int, int], Verified],
    ) -> Trained:
        variant = self.asked.variants[at]
        if report is None or not report.passed:
            why = variant.problem if report is None else report.findings[0].message
            return Trained(variant.path, variant.change, problem=why)
        first = self.first[at]
        found = [results[first, seed] for seed in range(self.asked.seeds)]
        readings, problem = _readings(self.context.measure, [each.result for each in found])
        return Trained(
            variant.path,
            variant.change,
            readings,
            parameters=report.measurements.fits[self.asked.scale].parameters,
            device_s=fmean(fact(each.facts, DEVICE_S) for each in found),
            problem=problem,
            same_as=None if first == at else first,
        )


def _result(
    future: Future[Verified], again: Callable[[], Future[Verified]], number: int
) -> Verified:
    """Return what a training gives, or, after the first attempt, what another one does."""
    return (again() if number else future).result()


def _readings(measure: Measure, results: Sequence[VerifyResult]) -> tuple[tuple[Reading, ...], str]:
    """Return what each training scored, or nothing and why."""
    readings = []
    for result in results:
        if not result.ok:
            return (), f"a training failed: {result.reason}"
        try:
            readings.append(measure.read(result.scores, result.controls, base=True))
        except Unmeasured as error:
            return (), f"a training was not measured: {error}"
    return tuple(readings), ""
