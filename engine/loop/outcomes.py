"""What a decision and a result do to the state, the tables and the event log.

Everything here runs inside the loop's transaction and depends on nothing but the state and the
task, so that replaying the same results gives the same log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genesys_engine.engine.common.budget import Spending, new_warnings
from genesys_engine.engine.common.text import listed
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
from genesys_engine.engine.select.state import Standing, State, keep
from genesys_engine.engine.store import event_types as events
from genesys_engine.engine.store.event_types import EventRecord
from genesys_engine.engine.store.events import Event
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.engine.store.run_store import (
    CONFIRM,
    DESIGN,
    VERIFY,
    ConfirmationRow,
    DesignRow,
    Store,
    TaskRow,
    VerificationRow,
)
from genesys_engine.engine.store.samples import write_samples
from genesys_engine.gab.errors import InputError


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
        bigram: Sequence[Mapping[str, Any]],
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
        parents = [
            {
                "design": design,
                "fitness": self.state.standings[design].fitness,
                "change": self.store.design(design).change,
            }
            for design in decision.parents
        ]
        payload = {
            "parents": parents,
            "seed": decision.seed,
            "known_before": counts.next_design,
            "verified_before": counts.next_verification,
            "applied_before": next(iter(self.state.in_flight), seq),
        }
        return self._issued(seq, DESIGN, payload)

    def _issue_verification(self, seq: int, decision: Verify) -> TaskRow:
        """Spend one verification of the rung's budget, if it is not one of the finals."""
        ladder, rung = self.state.ladder, decision.rung
        payload = {"design": decision.design, "rung": rung, "replicate": decision.replicate}
        ranks = not is_fresh(decision.replicate)
        if ranks and ladder.used[rung] == 0:
            self.emit(events.RungOpened(rung=rung, scale=self.scales[rung]))
        task = self._issued(seq, VERIFY, payload)
        self.emit(events.VerificationStarted(seq=seq, **payload))
        if ranks:
            self._warn(
                f"verifications at {self.scales[rung]}", ladder.used[rung], ladder.caps[rung]
            )
        return task

    def _issue_confirmation(self, seq: int, decision: Confirm) -> TaskRow:
        """Start the audit of a design."""
        design = decision.design
        payload = {"design": design, "rung": self.state.standings[design].rung}
        self.emit(events.ConfirmationStarted(seq=seq, **payload))
        return self._issued(seq, CONFIRM, payload)

    def _issued(self, seq: int, kind: str, payload: Mapping[str, Any]) -> TaskRow:
        task = TaskRow(seq, kind, payload, None, {}, applied=False)
        transitions.issue(self.state, task)
        return task

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

    # --- designs -----------------------------------------------------------------------------

    def apply_design(self, row: TaskRow, result: Mapping[str, Any]) -> None:
        """Let the designs of a task enter the run: the rejected ones, then the accepted one."""
        counts, seed = self.state.counts, row.payload["seed"]
        transitions.settle(self.state, row)
        if used := result.get("llm"):
            # What was paid is kept next to the log: a price may change, the decisions do not.
            self.emit(events.LLMUsed(seq=row.seq, roles=used), decisive=False)
        for entry in result["rejected"]:
            if entry["digest"] not in self.state.known:
                self._add_design(row, entry, accepted=False)
        for duplicate in result["duplicates"]:
            self.emit(events.DesignDuplicate(seq=row.seq, **duplicate))
        accepted = result["accepted"]
        of = None if accepted is None else self._twin(accepted)
        if of is not None:
            twin = events.DesignDuplicate(
                seq=row.seq, of=of, operator=accepted["operator"], change=accepted["change"]
            )
            self.emit(twin)
        if accepted is not None and of is None:
            counts.failures_in_a_row = 0
            self._accept(row, accepted)
            return
        if seed is not None:
            self._refuse_seed(seed, result, of)
        counts.failures_in_a_row += 1
        if (abandoned := result.get("abandoned")) is not None:
            self._abandon(row, abandoned)
            return
        reason = no_new_design(result, duplicates=len(result["duplicates"]) + (of is not None))
        parents = _parents_of(row)
        self.emit(events.DesignExhausted(seq=row.seq, parents=parents, reason=reason))

    def _abandon(self, row: TaskRow, abandoned: Mapping[str, Any]) -> None:
        """Record that an operator spent something and has no child to show for it."""
        given_up = events.DesignAbandoned(seq=row.seq, parents=_parents_of(row), **abandoned)
        self.emit(given_up)

    def _twin(self, entry: Mapping[str, Any]) -> int | None:
        known = self.state.known
        return known.get(entry["digest"], known.get(entry["fingerprint"]))

    def _refuse_seed(self, seed: str, result: Mapping[str, Any], of: int | None) -> None:
        """Raise `InputError`: without its seeds a run has no beginning."""
        where = "[population] seeds"
        if of is None and result["duplicates"]:
            of = result["duplicates"][0]["of"]
        if of is None and not result["rejected"]:
            raise InputError(
                f"the seed design {seed} failed: its check was aborted",
                where=where,
                hint="start another run; plugins must not answer an error of a seed with 'fail'",
            )
        if of is not None:
            why = f"it is identical to design {of}"
        else:
            finding = result["rejected"][0]["report"]["findings"][0]
            why = f"{finding['code']}: {finding['message']}"
        raise InputError(
            f"the seed design {seed} does not pass its check: {why}",
            where=where,
            hint="leave it out, or run `genesys-engine doctor`",
        )

    def _add_design(self, row: TaskRow, entry: Mapping[str, Any], *, accepted: bool) -> None:
        number, report = self.state.counts.next_design, entry["report"]
        measured = report["measurements"]
        fits, flops = measured.get("fits", {}), measured.get("flops_per_token", {})
        lowest = self.scales[0]
        design = DesignRow(
            id=number,
            seq=row.seq,
            accepted=accepted,
            digest=entry["digest"],
            fingerprint=entry.get("fingerprint"),
            parents=_parents_of(row),
            operator=entry["operator"],
            change=entry["change"],
            parameters=fits[lowest]["parameters"] if lowest in fits else None,
            flops=flops.get(lowest),
        )
        self.store.add_design(design, entry["tree"], report)
        transitions.enter_design(self.state, design, self._reference_seed)
        if accepted:
            self._announce_accepted(design, entry["details"])
        else:
            codes = tuple(finding["code"] for finding in report["findings"])
            self._announce_rejected(design, codes)

    def _announce_accepted(self, design: DesignRow, details: Mapping[str, object]) -> None:
        accepted = events.DesignAccepted(
            design=design.id,
            seq=design.seq,
            parents=design.parents,
            operator=design.operator,
            change=design.change,
            digest=design.digest,
            parameters=design.parameters,
            details=details or None,
        )
        self.emit(accepted)

    def _announce_rejected(self, design: DesignRow, codes: tuple[str, ...]) -> None:
        rejected = events.DesignRejected(
            design=design.id,
            seq=design.seq,
            parents=design.parents,
            operator=design.operator,
            change=design.change,
            codes=codes,
        )
        self.emit(rejected)

    def _accept(self, row: TaskRow, entry: Mapping[str, Any]) -> None:
        self._add_design(row, entry, accepted=True)
        if row.payload["seed"] is None:
            made = self.state.counts.children_accepted
            self._warn("designs", made, self.policy.settings.children)

    # --- verifications -----------------------------------------------------------------------

    def apply_verification(
        self, row: TaskRow, result: Mapping[str, Any], facts: Mapping[str, Any]
    ) -> None:
        """Let a verification enter the run: its fitness, and what follows for the design."""
        design, rung = row.payload["design"], row.payload["rung"]
        replicate = row.payload["replicate"]
        transitions.settle(self.state, row)
        controls = {**result["controls"], "bigram": self.bigram[rung]} if self.bigram else {}
        controls = controls or result["controls"]
        fitness, objectives, cause, reason = self._fitness(result, controls, row.payload)
        number = self.state.counts.next_verification
        verification = VerificationRow(
            id=number,
            seq=row.seq,
            design=design,
            rung=rung,
            replicate=replicate,
            status="failed" if cause else "ok",
            reason=f"{cause}: {reason}" if cause else "",
            fitness=fitness,
            scores=result["scores"],
            controls=controls,
            tokens=result["tokens"],
            facts=facts,
        )
        self.store.add_verification(verification, [list(point) for point in result["curve"]])
        write_samples(self.store.folder, row.seq, number)
        transitions.enter_verification(self.state, verification, objectives)
        about = {
            "verification": number,
            "seq": row.seq,
            "design": design,
            "rung": rung,
            "replicate": replicate,
        }
        if (seconds := facts.get("wall_s")) is not None:
            used = events.DeviceUsed(**about, seconds=seconds, workers=self.workers)
            self.emit(used, decisive=False)
        if cause or fitness is None:
            # What follows the first line (a stack, the end of the output) may differ every time.
            first = reason.partition("\n")[0]
            self.emit(events.VerificationFailed(**about, cause=cause, reason=first))
            if replicate == 0:
                self._refuse_reference(design, f"failed at {self.scales[rung]}", reason)
            return
        scores = {name: score["value"] for name, score in sorted(result["scores"].items())}
        self.emit(events.VerificationFinished(**about, fitness=fitness, scores=scores))
        if replicate == 0:
            self._promote(design, rung)

    def _fitness(
        self, result: Mapping[str, Any], controls: Mapping[str, Any], payload: Mapping[str, Any]
    ) -> tuple[float | None, Mapping[str, float], str, str]:
        """Return (fitness, gains in other objectives, cause of failure, reason)."""
        if result["status"] != "ok":
            return None, {}, result["cause"], result["reason"]
        design, rung, replicate = (payload[key] for key in ("design", "rung", "replicate"))
        base = design == self.state.reference
        try:
            reading = self.measure.read(result["scores"], controls, base=base)
        except Unmeasured as problem:
            return None, {}, "not_finite", str(problem)
        measured = self.state.measure(reading, design, rung, replicate)
        if measured is None:
            return None, {}, "no_reference", "the reference failed with this seed"
        return *measured, "", ""

    def _refuse_reference(self, design: int, failed: str, reason: str) -> None:
        if design == self.state.reference:
            raise InputError(
                f"the reference design {failed}: {reason}",
                where=f"[population] reference = {self._reference_seed!r}",
                hint="fitness is measured against it: fix the budget of the rung, or start a new"
                " run with another reference",
            )

    def _promote(self, design: int, rung: int) -> None:
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
            else:
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

    def apply_confirmation(self, row: TaskRow, result: Mapping[str, Any]) -> None:
        """Let an audit enter the run: the design stands, or it is disqualified."""
        transitions.settle(self.state, row)
        design, rung = row.payload["design"], row.payload["rung"]
        found = ConfirmationRow(row.seq, design, rung, result["problem"], result)
        self.store.add_confirmation(found)
        if found.problem:
            self._refuse_reference(design, "is disqualified", found.problem)
        descendants = transitions.enter_confirmation(self.state, found)
        if found.problem:
            self._withdraw(found, tuple(descendants))
            return
        self.emit(events.DesignConfirmed(seq=row.seq, design=design, rung=rung))
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


def _parents_of(row: TaskRow) -> tuple[int, ...]:
    return tuple(parent["design"] for parent in row.payload["parents"])


def no_new_design(result: Mapping[str, Any], *, duplicates: int) -> str:
    """Return the outcomes of the attempts of a task that made no new design."""
    found = {
        "not new": duplicates,
        "rejected": len(result["rejected"]),
        "not applicable": result.get("not_applicable", 0),
    }
    tries = [f"{count} {what}" for what, count in found.items() if count]
    return f"of its attempts, {listed(tries)}" if tries else "no attempt was possible"
