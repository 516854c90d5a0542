"""Unit by unit: each unit that a proposal names is written, judged and frozen by itself.

After a failure only this unit is retried, with the findings as feedback.  After `tries` replies
the search backtracks to the nearest rewritten unit above, or restarts this unit if there is none.
Other accepted units stay; those below the rewritten unit are reused without asking wherever they
still fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genesys_engine.gab.errors import TreeError
from genesys_engine.gab.interfaces import INTERFACES
from genesys_engine.gab.tree import GABTree, Place
from genesys_engine.gab.unit import Unit
from genesys_engine.operators.llm import feedback
from genesys_engine.operators.llm.desk import Desk
from genesys_engine.operators.llm.faithful import Checks, function_of, unfaithful, unwritten
from genesys_engine.operators.llm.idioms import idioms
from genesys_engine.operators.llm.options import ImplementerOptions
from genesys_engine.operators.llm.placing import find, place_unit
from genesys_engine.operators.llm.proposal import Implementation, Proposal, UnitChange
from genesys_engine.operators.llm.ratings import Rating
from genesys_engine.operators.llm.reading import Reading, read_edited, read_unit
from genesys_engine.operators.llm.sources import class_of, compact
from genesys_engine.operators.llm.templates import Templates
from genesys_engine.plugins.api import OperatorContext, OperatorNotApplicable, Parent
from genesys_engine.plugins.llm.replies import plain_answer

_PLAN_LASTS = 3  # tries
_LONGEST_PLAN = 1500  # characters
_PARTED = ("block", "sequence_mixer", "channel_mixer")  # interfaces large enough to be taken apart
_DEEPEST = 2  # below this place of the tree nothing is taken apart further
_RELATIVES = 1  # units of further parents that a coder sees: prompts are to stay short


class UnitByUnit:
    """Implements proposals unit by unit: `gp`, and its ablations by option."""

    def __init__(self, options: ImplementerOptions) -> None:
        self.options = options
        self.templates = Templates(options)

    def implement(
        self,
        proposal: Proposal,
        parents: Sequence[Parent],
        context: OperatorContext,
        *,
        token_cap: int | None = None,
    ) -> Implementation:
        """Return the outcome of `proposal`; see `Implementer`."""
        desk = Desk(context, self.templates, self.options, token_cap)
        return _Search(desk, proposal, parents, context).run()


@dataclass(frozen=True)
class Candidate:
    """A reply of the coder, judged as far as its first fault; `code` is "" without one."""

    reading: Reading
    tree: GABTree | None = None
    code: str = ""
    codes: tuple[str, ...] = ()
    message: str = ""
    score: int = 0


class _Search:
    """The search for one proposal."""

    def __init__(
        self,
        desk: Desk,
        proposal: Proposal,
        parents: Sequence[Parent],
        context: OperatorContext,
    ) -> None:
        if context.check is None:
            raise OperatorNotApplicable("it needs the check, which this context does not give")
        self.desk = desk
        self.options = desk.options
        self.proposal = proposal
        self.parent = parents[0].tree
        self.afresh = parents[0].design < 0
        self.others = [parent.tree for parent in parents[1:]]
        self.check = Checks(context.check)
        self.agenda = list(proposal.changes)
        self.done: dict[str, Unit] = {}
        self.set_aside: dict[str, Unit] = {}
        self.tried: dict[str, int] = {}
        self.notes: dict[str, str] = {}
        self.whole = False  # the next request is for a whole unit: edits could not be made

    def run(self) -> Implementation:
        """Write every unit of the agenda, backtracking when one fails."""
        left = self.options.rounds
        while (change := self._next()) is not None:
            failure = self._write(change)
            if not failure:
                continue
            left -= 1
            if left <= 0 or self.desk.spent or not self.options.checker:
                return self._ended(None, failure)
            self._step_back(change, failure)
        tree = self._tree()
        failure = self._fault(tree)
        return self._ended(None if failure else tree, failure)

    def _ended(self, tree: GABTree | None, failure: str) -> Implementation:
        return Implementation(
            tree, failure, max(self.tried.values(), default=0), tuple(self.desk.trace)
        )

    def _next(self) -> UnitChange | None:
        return next((each for each in self.agenda if each.path not in self.done), None)

    def _tree(self) -> GABTree:
        """Return the parent's tree with the accepted units in it."""
        tree = self.parent
        for change in self.agenda:
            if change.path in self.done:
                tree = place_unit(tree, change.path, self.done[change.path])
        return tree

    def _fault(self, tree: GABTree) -> str:
        """Return the code of the fault of the finished tree, or ""."""
        report = self.check(tree)
        if not report["passed"]:
            return feedback.codes(report)[0]
        paths = [change.path for change in self.proposal.changes]
        faults = unfaithful(tree, self.parent, paths, self.check)
        return faults[0].code if faults else ""

    def _step_back(self, change: UnitChange, failure: str) -> None:
        """Withdraw the nearest rewritten unit above, with everything below it."""
        above = [path for path in self.done if change.path.startswith(f"{path}.")]
        if not above:
            return
        nearest = max(above, key=len)
        del self.done[nearest]
        below = [path for path in self.done if path.startswith(f"{nearest}.")]
        self.set_aside |= {path: self.done.pop(path) for path in below}
        # Slots that the unit had added go with it: the next version may have others.
        self.agenda = [
            each
            for each in self.agenda
            if each in self.proposal.changes or not each.path.startswith(f"{nearest}.")
        ]
        self.notes[nearest] = f"With this unit, the unit at {change.path} failed: {failure}."
        self.desk.note("search", "step back", path=nearest)

    # --- one unit --------------------------------------------------------------------------

    def _write(self, change: UnitChange) -> str:
        """Write and freeze one unit; return the code of the last fault if it fails."""
        before = self._tree()
        place = find(before, change.path)
        if place is None:
            return "faithful.missing"
        if self._take_again(change, before):
            return ""
        plan = self._plan(change, place)
        feedback, former = self.notes.pop(change.path, ""), ""
        passed: list[Candidate] = []
        repeats, failure, self.whole = 0, "tokens.spent", False
        for number in range(self.options.tries):
            if self.desk.spent:
                break
            if number >= _PLAN_LASTS:
                plan = ""  # it may be what leads astray
            self.tried[change.path] = self.tried.get(change.path, 0) + 1
            best = self._best(change, place, before, plan, feedback, former, repeats)
            if best.tree is not None and not best.code:
                passed.append(best)
                if best.score >= self._threshold or len(passed) > self.options.observer_vetoes:
                    break
            elif not self.options.checker and not best.code.startswith("reply."):
                return best.code
            same = best.code == failure or best.reading.source == former
            repeats = repeats + 1 if same else 0
            feedback, former, failure = best.message, best.reading.source, best.code
            self.whole = failure == "reply.edit"
            if failure.startswith("faithful."):
                former = ""  # it is the working unit again
        if not passed:
            return failure
        self._freeze(change, max(passed, key=lambda each: each.score))
        return ""

    def _take_again(self, change: UnitChange, before: GABTree) -> bool:
        """Freeze again a unit set aside by backtracking, if it still fits the units above."""
        unit = self.set_aside.pop(change.path, None)
        if unit is None:
            return False
        candidate = self._judge(change, before, Reading(unit, unit.source), "")
        if candidate.code:
            return False
        self._freeze(change, candidate)
        self.desk.note("search", "taken again", path=change.path)
        return True

    @property
    def _threshold(self) -> int:
        return self.options.observer_threshold if self.options.observer else 0

    @property
    def _traced(self) -> bool:
        return self.options.feedback == "trace"

    def _freeze(self, change: UnitChange, chosen: Candidate) -> None:
        """Accept a unit; slots that it adds may be written next."""
        unit = chosen.reading.unit
        assert unit is not None, "only a unit that was read is accepted"
        old = find(self._tree(), change.path)
        known = {slot.name for slot in old.node.unit.slots} if old else set()
        self.done[change.path] = unit
        if self.options.new_slots == "implement":
            new = [slot for slot in unit.slots if slot.name not in known]
            planned = {each.path for each in self.agenda}
            at = self.agenda.index(change) + 1
            self.agenda[at:at] = [
                UnitChange(path, f"Make it a unit that {slot.requirement}.")
                for slot in new
                if (path := f"{change.path}.{slot.name}") not in planned
            ]

    def _plan(self, change: UnitChange, place: Place) -> str:
        if not self.options.planner:
            return ""
        fields = {
            "title": self.proposal.title,
            "motivation": self.proposal.motivation,
            "change": change.change,
            "feedback": self.notes.get(change.path, ""),
            **_shown(place),
        }
        fields = {
            k: fields[k]
            for k in (
                "title",
                "motivation",
                "path",
                "unit",
                "interface",
                "meaning",
                "source",
                "change",
                "feedback",
            )
        }
        reply = self.desk.ask(
            "planner",
            "planner",
            fields,
            tokens=self.options.note_tokens,
            temperature=self.options.temperature,
            purpose=_purpose("plan", place),
        )
        self.desk.note("planner", "planned", path=change.path)
        return plain_answer(reply.text)[:_LONGEST_PLAN]

    def _best(
        self,
        change: UnitChange,
        place: Place,
        before: GABTree,
        plan: str,
        feedback: str,
        former: str,
        repeats: int,
    ) -> Candidate:
        """Ask for `beam` candidates and return the best, testing cheap criteria first."""
        readings: list[Reading] = []
        for number in range(self.options.beam):
            if number and self.desk.spent:
                break
            readings.append(self._code(change, place, plan, feedback, former, repeats))
        judged: list[Candidate] = []
        for reading in sorted(readings, key=lambda each: bool(each.code)):
            candidate = self._judge(change, before, reading, former)
            if candidate.tree is not None and not candidate.code:
                candidate = self._observe(change, place, candidate)
            self._note(change, candidate)
            judged.append(candidate)
        return max(judged, key=lambda each: (not each.code, each.score, each.tree is not None))

    def _note(self, change: UnitChange, candidate: Candidate) -> None:
        outcome = candidate.code or "passed"
        repairs = list(candidate.reading.repairs)
        codes = list(candidate.codes)
        self.desk.note("coder", outcome, path=change.path, codes=codes, repairs=repairs)

    def _code(
        self, change: UnitChange, place: Place, plan: str, feedback: str, former: str, repeats: int
    ) -> Reading:
        options = self.options
        edits = options.edits and not self.whole
        fields: dict[str, Any] = {
            **_shown(place),
            "change": change.change,
            "plan": plan,
            "idioms": idioms(change.change, place.node.unit.source),
            "relatives": self._relatives(place),
            "feedback": feedback,
            # Shown once: a small model copies what it is shown.
            "former": "" if repeats else class_of(former, place.node.unit.name),
            "may_declare": self._may_declare(place),
            "edits": edits,
        }
        heat = options.temperature + repeats * options.temperature_step
        reply = self.desk.ask(
            "coder",
            "coder",
            fields,
            tokens=options.unit_tokens,
            temperature=min(heat, max(options.temperature, options.temperature_most)),
            purpose=_purpose("code", place),
        )
        shown = [former, *(each["source"] for each in fields["relatives"])]
        if not edits:
            return read_unit(reply, place.node.unit, shown)
        bases = [*([former] if fields["former"] else []), fields["source"]]
        return read_edited(reply, place.node.unit, bases, shown)

    def _may_declare(self, place: Place) -> bool:
        """Return whether the coder may declare child slots.

        It may for new units: in a design from scratch, and if new slots are implemented.
        Otherwise it changes a working unit, and small models that see slots there declare useless
        ones.
        """
        new = self.afresh or self.options.new_slots == "implement"
        return new and place.node.ret in _PARTED and place.depth < _DEEPEST

    def _relatives(self, place: Place) -> list[dict[str, str]]:
        """Return units of the other parents with this interface."""
        found = {
            node.unit.digest: node.unit
            for tree in self.others
            for node in tree
            if node.ret == place.node.ret and node.unit.digest != place.node.unit.digest
        }
        units = list(found.values())[:_RELATIVES]
        return [{"name": unit.name, "source": compact(unit)} for unit in units]

    def _judge(
        self, change: UnitChange, before: GABTree, reading: Reading, former: str
    ) -> Candidate:
        """Judge a unit, cheapest criterion first, up to the first fault."""
        if reading.unit is None:
            message = feedback.joined(reading.message, reading.detail, traced=self._traced)
            return Candidate(reading, code=reading.code, message=message)
        try:
            tree = place_unit(before, change.path, reading.unit)
            tree.validate()
        except TreeError as error:
            message = feedback.of_error(error, reading.source)
            return Candidate(reading, code="tree.misfit", message=message)
        if not self.options.checker:
            return Candidate(reading, tree)
        lost = [each.path for each in self.agenda if find(tree, each.path) is None]
        if lost:
            message = f"The slot of {lost[0]} is gone. Keep it: its unit is changed next."
            return Candidate(reading, code="faithful.missing", message=message)
        same = unwritten(tree, before, change.path)
        if same is not None:
            message = f"You returned the unit unchanged. Write the code for it: {change.change}"
            return Candidate(reading, code=same.code, message=message)
        report = self.check(tree)
        if not report["passed"]:
            codes = tuple(feedback.codes(report))
            message = feedback.of_report(report, tree, reading.unit, traced=self._traced)
            if reading.source == former:
                message = f"You returned the same code as before. {message}"
            return Candidate(reading, code=codes[0], codes=codes, message=message)
        if function_of(report) == function_of(self.check(before)):
            message = (
                "The block computes exactly what it computed before: the change has no effect."
            )
            return Candidate(reading, code="faithful.function", message=message)
        return Candidate(reading, tree)

    def _observe(self, change: UnitChange, place: Place, candidate: Candidate) -> Candidate:
        """Let the observer rate a unit that passed; without a usable rating it is accepted."""
        unit = candidate.reading.unit
        if not self.options.observer or unit is None:
            return candidate
        fields = {
            "path": change.path,
            "unit": place.node.unit.name,
            "interface": unit.interface,
            "before": compact(place.node.unit),
            "after": compact(unit),
            "change": change.change,
            "measured": "passed" if self.options.checker else "not run",
        }
        rating = self.desk.ask_json(
            "observer",
            "observer",
            fields,
            Rating,
            tokens=self.options.note_tokens,
            temperature=0.0,
            purpose={**_purpose("observe", place), "after": unit.source},
        )
        self.desk.note(
            "observer",
            "no rating" if rating is None else f"rated {rating.score}",
            path=change.path,
        )
        if rating is None:
            return Candidate(candidate.reading, candidate.tree, score=self._threshold)
        message = f"It passed the check, but a reader objects: {rating.reason[:400]}"
        return Candidate(candidate.reading, candidate.tree, message=message, score=rating.score)


def _shown(place: Place) -> dict[str, Any]:
    """Return the fields that show a unit."""
    unit = place.node.unit
    return {
        "path": place.path,
        "unit": unit.name,
        "interface": unit.interface,
        "meaning": INTERFACES.get(unit.interface, ""),
        "doc": unit.doc,
        "source": compact(unit),
        "slots": [
            {"name": s.name, "interface": s.interface, "requirement": s.requirement}
            for s in unit.slots
        ],
    }


def _purpose(stage: str, place: Place) -> Mapping[str, Any]:
    """Return the facts for back ends without a model."""
    unit = place.node.unit
    return {
        "stage": stage,
        "path": place.path,
        "unit": unit.name,
        "source": unit.source,
        "interface": unit.interface,
        "slots": {slot.name: [slot.interface, slot.requirement] for slot in unit.slots},
        "inputs": list(unit.inputs),
        "outputs": list(unit.outputs),
    }
