"""The whole block in one reply: direct prompting, and the methods built on it.

`direct` asks once, as published.  `best_of_n` asks independently until its tokens are spent.
`sequential` asks with the findings as feedback.  `no_unitwise` is the full designer (planner,
feedback, observer) without writing unit by unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genesys_engine.operators.llm import feedback
from genesys_engine.operators.llm.block import BlockReading, Entry, entries, read_block
from genesys_engine.operators.llm.desk import Desk
from genesys_engine.operators.llm.faithful import Checks, unfaithful
from genesys_engine.operators.llm.idioms import idioms
from genesys_engine.operators.llm.options import ImplementerOptions
from genesys_engine.operators.llm.proposal import Implementation, Proposal
from genesys_engine.operators.llm.ratings import Rating
from genesys_engine.operators.llm.sources import compact
from genesys_engine.operators.llm.templates import Templates
from genesys_engine.plugins.api import OperatorContext, OperatorNotApplicable, Parent
from genesys_engine.plugins.llm.replies import plain_answer

_LONGEST_PLAN = 1500  # characters


@dataclass(frozen=True)
class Way:
    """The procedure of a whole-block implementer.

    `replies` is the largest number of replies; 0 means until the tokens are spent if there is a
    cap, else `tries` times `rounds`.
    """

    replies: int = 0
    feedback: bool = False
    planned: bool = False
    observed: bool = False


class WholeBlock:
    """Implements proposals with the whole block in every reply."""

    def __init__(self, options: ImplementerOptions, way: Way) -> None:
        self.options = options
        self.way = way
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
        if context.check is None:
            raise OperatorNotApplicable("it needs the check, which this context does not give")
        work = _Work(desk, self.way, proposal, parents[0], Checks(context.check))
        return work.run(bounded=token_cap is not None)


class _Work:
    """The replies for one proposal."""

    def __init__(
        self, desk: Desk, way: Way, proposal: Proposal, parent: Parent, check: Checks
    ) -> None:
        self.desk = desk
        self.options = desk.options
        self.way = way
        self.proposal = proposal
        self.parent = parent.tree
        self.check = check
        self.entries = entries(parent.tree, proposal.changes)
        self.vetoes = 0

    def run(self, *, bounded: bool) -> Implementation:
        """Ask until a block is valid and faithful, or the budget is spent."""
        most = self.way.replies or (0 if bounded else self.options.tries * self.options.rounds)
        plan = self._plan() if self.way.planned else ""
        feedback, failure, repeats, asked = "", "tokens.spent", 0, 0
        spare: Implementation | None = None
        while (not most or asked < most) and not (asked and self.desk.spent):
            asked += 1
            reading = self._ask(plan, feedback if self.way.feedback else "", repeats)
            code, message = self._judge(reading)
            self._note(reading, code)
            if not code:
                spare = Implementation(reading.tree, "", asked)
                message = self._objection(reading) if self.way.observed else ""
                if not message:
                    break
                code = "observer.rejected"
            repeats = repeats + 1 if code == failure else 0
            feedback, failure = message, code
        trace = tuple(self.desk.trace)
        if spare is not None:
            return Implementation(spare.tree, "", asked, trace)
        return Implementation(None, failure, asked, trace)

    def _ask(self, plan: str, feedback: str, repeats: int) -> BlockReading:
        options = self.options
        heat = options.temperature + repeats * options.temperature_step
        reply = self.desk.ask(
            "coder",
            "block_coder",
            {**self._fields(), "plan": plan, "idioms": self._idioms(), "feedback": feedback},
            tokens=options.block_tokens,
            temperature=min(heat, max(options.temperature, options.temperature_most)),
            purpose=self._purpose("code_block"),
        )
        return read_block(reply, self.parent, self.entries)

    def _plan(self) -> str:
        reply = self.desk.ask(
            "planner",
            "block_planner",
            self._fields(),
            tokens=self.options.note_tokens,
            temperature=self.options.temperature,
            purpose=self._purpose("plan_block"),
        )
        self.desk.note("planner", "planned")
        return plain_answer(reply.text)[:_LONGEST_PLAN]

    def _fields(self) -> dict[str, object]:
        return {
            "title": self.proposal.title,
            "motivation": self.proposal.motivation,
            "units": [entry.shown() for entry in self.entries],
            "changes": [
                {"name": entry.name, "change": entry.change}
                for entry in self.entries
                if entry.change
            ],
        }

    def _idioms(self) -> list[str]:
        found = [
            line
            for entry in self.entries
            if entry.change
            for line in idioms(entry.change, entry.unit.source)
        ]
        return list(dict.fromkeys(found))

    def _purpose(self, stage: str) -> dict[str, object]:
        return {"stage": stage, "units": [entry.purpose() for entry in self.entries]}

    def _judge(self, reading: BlockReading) -> tuple[str, str]:
        """Return the code and the description of the first fault, or two empty texts."""
        traced = self.options.feedback == "trace"
        if reading.tree is None:
            return reading.code, feedback.joined(reading.message, reading.detail, traced=traced)
        report = self.check(reading.tree)
        if not report["passed"]:
            message = feedback.of_report(report, reading.tree, traced=traced)
            return feedback.codes(report)[0], message
        paths = [change.path for change in self.proposal.changes]
        faults = unfaithful(reading.tree, self.parent, paths, self.check)
        if not faults:
            return "", ""
        return faults[0].code, " ".join(f"{self._name(f.path)}: {f.message}" for f in faults)

    def _name(self, path: str) -> str:
        return next(entry.name for entry in self.entries if path in entry.paths)

    def _note(self, reading: BlockReading, code: str) -> None:
        facts = {"repairs": list(reading.repairs), "kept": list(reading.kept)}
        self.desk.note("coder", code or "passed", **facts)

    def _objection(self, reading: BlockReading) -> str:
        """Return the observer's objection to a valid block, or ""."""
        if self.vetoes >= self.options.observer_vetoes or reading.tree is None:
            return ""
        places = {place.path: place.node.unit for place in reading.tree.places()}
        changed = [entry for entry in self.entries if entry.change]
        fields = {
            "title": self.proposal.title,
            "units": [_beside(entry, compact(places[entry.paths[0]])) for entry in changed],
            "changes": self._fields()["changes"],
            "measured": "passed",
        }
        rating = self.desk.ask_json(
            "observer",
            "block_observer",
            fields,
            Rating,
            tokens=self.options.note_tokens,
            temperature=0.0,
            purpose=self._purpose("observe_block"),
        )
        self.desk.note("observer", "no rating" if rating is None else f"rated {rating.score}")
        if rating is None or rating.score >= self.options.observer_threshold:
            return ""
        self.vetoes += 1
        return f"It passed the check, but a reader objects: {rating.reason[:400]}"


def _beside(entry: Entry, after: str) -> dict[str, object]:
    return {"name": entry.name, "change": entry.change, "after": after}
