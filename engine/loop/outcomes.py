"""What a decision and a result do to the state, the tables and the event log.

Everything here runs inside the loop's transaction and depends on nothing but the state and the
task, so that replaying the same results gives the same log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from genesys_engine.engine.common.budget import Spending, new_warnings
from genesys_engine.engine.common.text import listed
from genesys_engine.engine.jobs.facts import Facts
from genesys_engine.engine.jobs.results import (
    ConfirmResult,
    DesignEntry,
    DesignResult,
    VerifyResult,
)
from genesys_engine.engine.jobs.scores import Controls, Scores
from genesys_engine.engine.jobs.task_result import Done
from genesys_engine.engine.jobs.tasks import (
    ConfirmTask,
    DesignTask,
    Task,
    TaskParent,
    VerifyTask,
)
from genesys_engine.engine.loop import transitions
from genesys_engine.engine.score.finals import Entries, most_trainings
from genesys_engine.engine.score.fitness import Measure, Unmeasured
from genesys_engine.engine.select.policy import (
    Confirm,
    Design,
    LookAtFinals,
    NextGeneration,
    OpenFinals,
    Policy,
    Verify,
)
from genesys_engine.engine.select.standing import Standing
from genesys_engine.engine.select.state import State, keep
from genesys_engine.engine.store import event_types as events
from genesys_engine.engine.store.event_types import EventRecord
from genesys_engine.engine.store.events import Event
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.engine.store.run_store import (
    ConfirmationRow,
    DesignRow,
    Store,
    TaskRow,
    VerificationRow,
)
from genesys_engine.engine.store.samples import write_samples
from genesys_engine.gab.errors import InputError


@dataclass(frozen=True)
class _Measured:
    """What a verification gained, also in other objectives, or why it has failed."""

    fitness: float | None
    objectives: Mapping[str, float] = field(default_factory=dict)
    cause: str = ""
    reason: str = ""


class Outcomes:
    """Applies decisions and results; collects the events of the step."""

    def __init__(
        self,
        store: Store,
        state: State,
        policy: Policy,
        *,
        scales: Sequence[str],
        measure: Measure,
        bigram: Sequence[Scores],
        workers: int,
        wall_s: Callable[[], float],
    ) -> None:
        self.store = store
        self.state = state
        self.policy = policy
        self.scales = tuple(scales)
        self.measure = measure
        self.bigram = tuple(bigram)  # control scores of the bigram model, per rung
        self.workers = workers
        self.wall_s = wall_s
        self.device_s = float(store.meta("device_s", 0.0))  # of all verifications together
        self._events: list[Event] = []

    @property
    def _reference_seed(self) -> str:
        return self.policy.settings.seeds[0]

    def emit(self, event: EventRecord, *, decisive: bool = True) -> None:
        """Append an event to the log."""
        self._events.append(self.store.add_event(event, decisive=decisive))

    def take_events(self) -> list[Event]:
        """Return the events since the last call."""
        taken, self._events = self._events, []
        return taken

    # --- issuing -----------------------------------------------------------------------------

    def issue(self, decision: Design | Verify | Confirm) -> TaskRow:
        """Count a decision as a running task, and return the task."""
        seq = self.state.counts.next_seq
        if isinstance(decision, Design):
            return self._issue_design(seq, decision)
        if isinstance(decision, Confirm):
            return self._issue_confirmation(seq, decision)
        return self._issue_verification(seq, decision)

    def _issue_design(self, seq: int, decision: Design) -> TaskRow:
        counts = self.state.counts
        origin = f"seed:{decision.seed}" if decision.seed else "variation"
        self.emit(events.DesignStarted(seq=seq, parents=decision.parents, origin=origin))
        task = DesignTask(
            parents=tuple(self._parent(design) for design in decision.parents),
            seed=decision.seed,
            known_before=counts.next_design,
            verified_before=counts.next_verification,
            applied_before=next(iter(self.state.in_flight), seq),
            weights=self.state.credit.weights() if self._is_learning(decision) else None,
        )
        return self._issued(seq, task)

    def _is_learning(self, decision: Design) -> bool:
        return self.policy.settings.adaptive_operators and decision.seed is None

    def _parent(self, design: int) -> TaskParent:
        fitness, change = self.state.standings[design].fitness, self.store.design(design).change
        return TaskParent(design, fitness, change)

    def _issue_verification(self, seq: int, decision: Verify) -> TaskRow:
        """Spend one verification of the rung's budget, if it is not one of the finals."""
        ladder, rung = self.state.ladder, decision.rung
        task = VerifyTask(decision.design, rung, decision.replicate)
        ranks = not is_fresh(decision.replicate)
        if ranks and ladder.used[rung] == 0:
            self.emit(events.RungOpened(rung=rung, scale=self.scales[rung]))
        row = self._issued(seq, task)
        self.emit(events.VerificationStarted(seq=seq, **vars(task)))
        if ranks:
            self._warn(
                f"verifications at {self.scales[rung]}", ladder.used[rung], ladder.caps[rung]
            )
        return row

    def _issue_confirmation(self, seq: int, decision: Confirm) -> TaskRow:
        """Start the audit of a design."""
        task = ConfirmTask(decision.design, self.state.standings[decision.design].rung)
        self.emit(events.ConfirmationStarted(seq=seq, **vars(task)))
        return self._issued(seq, task)

    def _issued(self, seq: int, task: Task) -> TaskRow:
        row = TaskRow(seq, task)
        transitions.issue(self.state, row)
        return row

    def _warn(self, budget: str, used: int, cap: int) -> None:
        for each in new_warnings(self.state.warned, [Spending(budget, used, cap)]):
            self.emit(events.BudgetWarning(budget=each.budget, used=used, cap=cap))

    # --- decisions without a task ------------------------------------------------------------

    def take_step(self, step: NextGeneration | OpenFinals | LookAtFinals) -> None:
        """Close a generation, open the finals, or note a look at them."""
        if isinstance(step, NextGeneration):
            self._close_generation()
        elif isinstance(step, OpenFinals):
            self._open_finals(step.entries)
        else:
            self.state.finals.seen += 1
            self.emit(step.look.record())

    def _close_generation(self) -> None:
        state = self.state
        merged = sorted(state.members + state.offspring)
        candidates = state.candidates(merged)
        kept = self.policy.selector.survivors(candidates, self.policy.settings.population)
        state.members, state.offspring = keep(merged, candidates, kept), []
        state.generation += 1
        self.emit(
            events.GenerationFinished(generation=state.generation, population=tuple(state.members))
        )

    def _open_finals(self, entries: Entries) -> None:
        self.state.finals.entries, seeds = entries, self.policy.settings.finalist_seeds
        opened = events.FinalsOpened(
            reference=entries.reference,
            finalists=entries.children,
            rivals=entries.seeds,
            seeds=seeds,
            trainings=most_trainings(len(entries.seeds), len(entries.children), seeds),
        )
        self.emit(opened)

    # --- results -----------------------------------------------------------------------------

    def apply(self, row: TaskRow, done: Done) -> None:
        """Let the result of a task enter the run."""
        transitions.settle(self.state, row)
        seq, task = row.seq, row.task
        match task, done.result:
            case DesignTask(), DesignResult() as made:
                self._apply_design(seq, task, made)
            case VerifyTask(), VerifyResult() as measured:
                self._apply_verification(seq, task, measured, done.facts)
            case ConfirmTask(), ConfirmResult() as found:
                self._apply_confirmation(seq, task, found)
            case _:
                raise AssertionError(f"task {seq} has the result of another kind")

    # --- designs -----------------------------------------------------------------------------

    def _apply_design(self, seq: int, task: DesignTask, made: DesignResult) -> None:
        """Let the designs of a task enter the run: the rejected ones, then the accepted one."""
        if made.llm:
            # What was paid is kept next to the log: a price may change, the decisions do not.
            self.emit(events.LLMUsed(seq=seq, roles=made.llm), decisive=False)
        for entry in made.rejected:
            if entry.digest not in self.state.known:
                self._reject(seq, task, entry)
        for duplicate in made.duplicates:
            self.emit(events.DesignDuplicate(seq=seq, **vars(duplicate)))
        accepted = made.accepted
        of = None if accepted is None else self._twin(accepted)
        if accepted is not None and of is not None:
            twin = events.DesignDuplicate(
                seq=seq, of=of, operator=accepted.operator, change=accepted.change
            )
            self.emit(twin)
        if accepted is not None and of is None:
            self.state.counts.failures_in_a_row = 0
            self._accept(seq, task, accepted)
            return
        if task.seed is not None:
            self._refuse_seed(task.seed, made, of)
        self.state.counts.failures_in_a_row += 1
        if made.abandoned is not None:
            given_up = vars(made.abandoned)
            self.emit(events.DesignAbandoned(seq=seq, parents=task.parent_ids, **given_up))
            return
        reason = no_new_design(made, duplicates=len(made.duplicates) + (of is not None))
        self.emit(events.DesignExhausted(seq=seq, parents=task.parent_ids, reason=reason))

    def _twin(self, entry: DesignEntry) -> int | None:
        """Return the design that is the same already: its tree, or the function it computes."""
        known = self.state.known
        print_of = entry.fingerprint
        return known.get(entry.digest, known.get(print_of) if print_of else None)

    def _refuse_seed(self, seed: str, made: DesignResult, of: int | None) -> None:
        """Raise `InputError`: without its seeds a run has no beginning."""
        where = "[population] seeds"
        if of is None and made.duplicates:
            of = made.duplicates[0].of
        if of is None and not made.rejected:
            raise InputError(
                f"the seed design {seed} failed: its check was aborted",
                where=where,
                hint="start another run; plugins must not answer an error of a seed with 'fail'",
            )
        if of is not None:
            why = f"it is identical to design {of}"
        else:
            finding = made.rejected[0].report.findings[0]
            why = f"{finding.code}: {finding.message}"
        raise InputError(
            f"the seed design {seed} does not pass its check: {why}",
            where=where,
            hint="leave it out, or run `genesys-engine doctor`",
        )

    def _add_design(
        self, seq: int, task: DesignTask, entry: DesignEntry, *, accepted: bool
    ) -> DesignRow:
        measured, lowest = entry.report.measurements, self.scales[0]
        fit = measured.fits.get(lowest)
        design = DesignRow(
            id=self.state.counts.next_design,
            seq=seq,
            accepted=accepted,
            digest=entry.digest,
            fingerprint=entry.fingerprint,
            parents=task.parent_ids,
            operator=entry.operator,
            change=entry.change,
            parameters=None if fit is None else fit.parameters,
            flops=measured.flops_per_token.get(lowest),
        )
        self.store.add_design(design, entry.tree, entry.report)
        if entry.place:
            self.store.add_place(design.id, entry.place)
        transitions.enter_design(self.state, design, self._reference_seed, entry.place)
        return design

    def _accept(self, seq: int, task: DesignTask, entry: DesignEntry) -> None:
        design = self._add_design(seq, task, entry, accepted=True)
        accepted = events.DesignAccepted(
            design=design.id,
            seq=seq,
            parents=design.parents,
            operator=design.operator,
            change=design.change,
            digest=design.digest,
            parameters=design.parameters,
            details=entry.details or None,
        )
        self.emit(accepted)
        if task.seed is None:
            made = self.state.counts.children_accepted
            self._warn("designs", made, self.policy.settings.children)

    def _reject(self, seq: int, task: DesignTask, entry: DesignEntry) -> None:
        design = self._add_design(seq, task, entry, accepted=False)
        rejected = events.DesignRejected(
            design=design.id,
            seq=seq,
            parents=design.parents,
            operator=design.operator,
            change=design.change,
            codes=tuple(finding.code for finding in entry.report.findings),
        )
        self.emit(rejected)

    # --- verifications -----------------------------------------------------------------------

    def _apply_verification(
        self, seq: int, task: VerifyTask, result: VerifyResult, facts: Facts
    ) -> None:
        """Let a verification enter the run: its fitness, and what follows for the design."""
        controls = result.controls
        if self.bigram:
            controls = {**controls, "bigram": self.bigram[task.rung]}
        found = self._measured(task, result, controls)
        row = VerificationRow(
            id=self.state.counts.next_verification,
            seq=seq,
            design=task.design,
            rung=task.rung,
            replicate=task.replicate,
            status="failed" if found.cause else "ok",
            reason=f"{found.cause}: {found.reason}" if found.cause else "",
            fitness=found.fitness,
            scores=result.scores,
            controls=controls,
            tokens=result.tokens,
            facts=facts,
        )
        self.store.add_verification(row, result.curve)
        write_samples(self.store.folder, seq, row.id)
        transitions.enter_verification(self.state, row, found.objectives)
        self._announce_verification(row, found)
        if task.replicate:
            return
        if found.fitness is None:
            self._refuse_reference(task.design, f"failed at {self.scales[task.rung]}", found.reason)
        else:
            self._stand_or_confirm(task.design, task.rung)

    def _announce_verification(self, row: VerificationRow, found: _Measured) -> None:
        about = {"verification": row.id, "seq": row.seq, "design": row.design}
        about |= {"rung": row.rung, "replicate": row.replicate}
        if isinstance(seconds := row.facts.get("wall_s"), int | float):
            used = events.DeviceUsed(**about, seconds=seconds, workers=self.workers)
            self.emit(used, decisive=False)
        if found.fitness is None:
            # What follows the first line (a stack, the end of the output) may differ every time.
            first = found.reason.partition("\n")[0]
            self.emit(events.VerificationFailed(**about, cause=found.cause, reason=first))
            return
        scores = {name: score.value for name, score in sorted(row.scores.items())}
        self.emit(events.VerificationFinished(**about, fitness=found.fitness, scores=scores))

    def _measured(self, task: VerifyTask, result: VerifyResult, controls: Controls) -> _Measured:
        if not result.ok:
            return _Measured(None, cause=result.cause, reason=result.reason)
        base = task.design == self.state.reference
        try:
            reading = self.measure.read(result.scores, controls, base=base)
        except Unmeasured as problem:
            return _Measured(None, cause="not_finite", reason=str(problem))
        measured = self.state.measure(reading, task.design, task.rung, task.replicate)
        if measured is None:
            reason = "the reference failed with this seed"
            return _Measured(None, cause="no_reference", reason=reason)
        return _Measured(*measured)

    def _refuse_reference(self, design: int, failed: str, reason: str) -> None:
        if design == self.state.reference:
            raise InputError(
                f"the reference design {failed}: {reason}",
                where=f"[population] reference = {self._reference_seed!r}",
                hint="fitness is measured against it: fix the budget of the rung, or start a new"
                " run with another reference",
            )

    def _stand_or_confirm(self, design: int, rung: int) -> None:
        """Let a design that has gained something stand, or have it confirmed first."""
        looked_at = self.state.confirmations
        if design in looked_at.disqualified:
            return
        if rung == 0:
            looked_at.newcomers.add(design)
        if not looked_at.open(design):  # else the running audit is followed by another
            self._settle(self.state.standings[design])

    def _settle(self, standing: Standing) -> None:
        """Put a design in question where it must be confirmed, or else let it stand."""
        if self.state.has_to_be_confirmed(standing):
            self.state.question(standing.design)
        else:
            self._let_stand(standing)

    def _let_stand(self, standing: Standing) -> None:
        """Name a design: on the leaderboard, in the population, on the ladder, as the best."""
        state, design = self.state, standing.design
        self.store.set_standing(design, standing.rung, standing.fitness)
        state.place(design)
        if design in state.confirmations.newcomers:
            state.confirmations.newcomers.remove(design)
            if self.policy.settings.generational and not standing.seed:
                state.offspring.append(design)
            elif self.policy.may_vary(state, standing):
                state.members.append(design)
                self._trim()
        if state.better(standing):
            self._name_best(standing)

    def _name_best(self, standing: Standing) -> None:
        self.state.best = standing.design
        best = events.BestChanged(
            design=standing.design, rung=standing.rung, fitness=standing.fitness
        )
        self.emit(best)

    def _trim(self) -> None:
        """Keep the steady-state population between mu and mu + lambda."""
        state, settings = self.state, self.policy.settings
        if settings.generational or len(state.members) < settings.population + settings.offspring:
            return
        candidates = state.candidates(state.members)
        survivors = self.policy.selector.survivors(candidates, settings.population)
        state.members = keep(state.members, candidates, survivors)

    # --- confirmations -----------------------------------------------------------------------

    def _apply_confirmation(self, seq: int, task: ConfirmTask, result: ConfirmResult) -> None:
        """Let an audit enter the run: the design stands, or it is disqualified."""
        design, rung = task.design, task.rung
        found = ConfirmationRow(seq, design, rung, result.problem, result)
        self.store.add_confirmation(found)
        if found.problem:
            self._refuse_reference(design, "is disqualified", found.problem)
        descendants = transitions.enter_confirmation(self.state, found)
        if found.problem:
            self._withdraw(found, tuple(descendants))
            return
        self.emit(events.DesignConfirmed(seq=seq, design=design, rung=rung))
        self._settle(self.state.standings[design])

    def _withdraw(self, found: ConfirmationRow, descendants: tuple[int, ...]) -> None:
        """Take a disqualified design and what descends from it off the leaderboard."""
        designs = (found.design, *descendants)
        for withdrawn in designs:
            self.store.set_standing(withdrawn, None, None)
        disqualified = events.DesignDisqualified(
            seq=found.seq,
            design=found.design,
            rung=found.rung,
            reason=found.problem,
            in_question=descendants,
        )
        self.emit(disqualified)
        if self.state.best in designs:
            self.state.best = None
            for standing in self.state.ranked()[:1]:
                self._name_best(standing)


def no_new_design(made: DesignResult, *, duplicates: int) -> str:
    """Return the outcomes of the attempts of a task that made no new design."""
    found = {
        "not new": duplicates,
        "rejected": len(made.rejected),
        "not applicable": made.not_applicable,
    }
    tries = [f"{count} {what}" for what, count in found.items() if count]
    return f"of its attempts, {listed(tries)}" if tries else "no attempt was possible"
