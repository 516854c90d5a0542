"""Ideation: a proposer has an idea, near-duplicates are distinguished, a reviewer rates it.

An idea below the threshold goes back with the review.  Nothing is spent on code before an idea
is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from genesys_engine.gab.tree import GABTree, Place
from genesys_engine.operators.llm.desk import Desk
from genesys_engine.operators.llm.options import LLMOptions
from genesys_engine.operators.llm.proposal import Proposal, UnitChange
from genesys_engine.operators.llm.ratings import Rating
from genesys_engine.operators.variation import sentence
from genesys_engine.plugins.api import (
    DesignAbandoned,
    History,
    OperatorContext,
    Parent,
    RungResult,
    Tried,
)
from genesys_engine.plugins.knowledge.embeddings import open_embedding

NOTHING = ""
"""What a proposer puts where no unit of the other parent is taken."""
MOST_UNREADABLE = 2
"""Tries in a row without a reply that can be read, a correction each, after which a proposer is
abandoned: a model that does not keep to the form has no idea that further tries would bring out."""
_PATH = re.compile(r"\broot(?:\.\w+)*")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")
_PASSAGE = 500  # characters of a passage in a prompt
_CHANGE, _OUTCOME, _FINDING = 240, 160, 200  # likewise: prompts are to fit small models
_RUNGS, _SCORES, _FINDINGS = 3, 3, 2  # of a parent that are shown: the highest, the first


@dataclass(frozen=True)
class Brief:
    """The task for which an operator wants an idea.

    `donor` is the other parent of a crossover; `must` are paths of which one has to change (any if
    empty); `idea` describes a design from scratch.
    """

    parent: Parent
    donor: Parent | None = None
    must: tuple[str, ...] = ()
    idea: str = ""


@dataclass(frozen=True)
class Idea:
    """An accepted proposal with its review; `taken` maps places to the donor's paths."""

    proposal: Proposal
    taken: Mapping[str, str] = field(default_factory=dict)
    review: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The change in one sentence."""
        return summary(self.proposal, self.taken)


def summary(proposal: Proposal, taken: Mapping[str, str]) -> str:
    """Return a proposal in one sentence, for the lineage and for finding duplicates."""
    parts = [f"{each.path}: {each.change.rstrip('. ')}" for each in proposal.changes]
    parts += [f"{path} taken from {other} of the second parent" for path, other in taken.items()]
    text = f"{proposal.title.rstrip('. ')}: {'; '.join(parts)}"
    return sentence(" ".join(text.split()))


def find_idea(brief: Brief, desk: Desk, context: OperatorContext, options: LLMOptions) -> Idea:
    """Return an idea that the reviewer accepts.

    Raises:
        DesignAbandoned: none was accepted in `options.proposal_tries` tries, or none could be read
            in `MOST_UNREADABLE`.
    """
    return _Ideation(brief, desk, context, options).run()


class _Ideation:
    def __init__(
        self, brief: Brief, desk: Desk, context: OperatorContext, options: LLMOptions
    ) -> None:
        self.brief = brief
        self.desk = desk
        self.context = context
        self.options = options
        self.places = {place.path: place for place in brief.parent.tree.places()}
        self.gifts = _gifts(brief.donor.tree) if brief.donor else {}
        self.model = _model(list(self.places), list(self.gifts), options.most_changes)
        self.history = context.history(brief.parent.design, options.tried)
        self.parent = _parent_shown(brief.parent, self.history)
        self.donor = _donor_shown(brief.donor, context) if brief.donor else None
        self.embedding = open_embedding("hashed")
        self.seen: list[str] = []

    def run(self) -> Idea:
        """Ask for ideas until one is accepted."""
        fault, code = "", "proposal.none"
        asked = unreadable = 0
        while asked < self.options.proposal_tries and unreadable < MOST_UNREADABLE:
            asked += 1
            draft = self._propose(fault)
            if draft is None:
                fault, code = "Reply with the JSON object that is asked for.", "proposal.malformed"
                unreadable += 1
                continue
            unreadable = 0
            proposal, taken = self._read(draft)
            fault = self._misfit(proposal, taken)
            if fault:
                code = "proposal.misfit"
                self.desk.note("proposer", code, title=proposal.title)
                continue
            same = self._same(summary(proposal, taken))
            if same:
                fault, code = f"This was tried before: {same} Propose another.", "proposal.same"
                self.desk.note("proposer", code, title=proposal.title, like=same)
                continue
            self.desk.note("proposer", "proposed", title=proposal.title)
            review = self._review(proposal, taken)
            if review.score >= self.options.proposal_threshold:
                return Idea(proposal, taken, review.model_dump())
            fault, code = f"A reviewer objects: {review.reason[:400]}", "proposal.rejected"
        raise DesignAbandoned(
            f"no proposal was accepted in {asked} tries; the last: {fault}",
            code=code,
            details={"trace": list(self.desk.trace)},
        )

    def _propose(self, fault: str) -> BaseModel | None:
        brief, options = self.brief, self.options
        fields = {
            "parent": self.parent,
            "donor": self.donor,
            "places": [_place_shown(place) for place in self.places.values()],
            "gifts": [_place_shown(place) for place in self.gifts.values()],
            "must": list(brief.must),
            "idea": brief.idea,
            "most": options.most_changes,
            "passages": self._passages(brief.idea or brief.parent.change),
            "tried": self._tried(brief.idea or brief.parent.change),
            "feedback": fault,
        }
        purpose = {
            "stage": "propose",
            "paths": list(self.places),
            "places": {path: place.node.ret for path, place in self.places.items()},
            "gifts": {path: place.node.ret for path, place in self.gifts.items()},
            "must": list(brief.must),
            "most": options.most_changes,
        }
        return self.desk.ask_json(
            "proposer",
            "proposer",
            fields,
            self.model,
            tokens=options.proposal_tokens,
            temperature=options.proposal_temperature,
            purpose=purpose,
        )

    def _read(self, draft: Any) -> tuple[Proposal, dict[str, str]]:
        """Return the draft as a proposal, changes in the order of the tree, each place once."""
        changes: dict[str, UnitChange] = {}
        taken: dict[str, str] = {}
        for entry in sorted(draft.changes, key=lambda each: self.places[each.path].index):
            if entry.path in changes or entry.path in taken:
                continue
            other = getattr(entry, "take", NOTHING)
            if other != NOTHING:
                taken[entry.path] = other
            else:
                changes[entry.path] = UnitChange(entry.path, entry.change.strip())
        proposal = Proposal(
            draft.title.strip(),
            draft.motivation.strip(),
            tuple(changes.values()),
            draft.expected_effect.strip(),
        )
        return proposal, taken

    def _misfit(self, proposal: Proposal, taken: Mapping[str, str]) -> str:
        """Return what keeps a proposal from being carried out, or ""."""
        paths = [*taken, *(change.path for change in proposal.changes)]
        if not paths:
            return "The proposal changes no unit."
        if any(not change.change for change in proposal.changes):
            return "Say for every unit what is to be changed."
        if self.brief.must and not set(self.brief.must) & set(paths):
            return f"One of these has to be changed: {', '.join(self.brief.must)}."
        if self.brief.donor is not None and not taken and not proposal.changes:
            return "Take a unit of the second parent."
        for path, other in taken.items():
            own, gift = self.places[path].node, self.gifts[other].node
            if own.ret != gift.ret:
                return f"{other} is a {gift.ret} and cannot stand at {path}, a {own.ret}."
            if own.unit.digest == gift.unit.digest:
                return f"The unit {other} of the second parent is the one that stands at {path}."
        return ""

    def _same(self, idea: str) -> str:
        """Return an earlier idea of this search, or a design of the run, that says the same.

        It names the same places and numbers: otherwise it is a different experiment.  The reviewer
        sees ideas that are merely similar.
        """
        known = [*self.seen, *(_first(line) for line in self.context.tried(idea, 5))]
        known = [each for each in known if _marks(each) == _marks(idea)]
        self.seen.append(idea)
        if not known:
            return ""
        vectors = self.embedding.embed([idea, *known])
        cosines = [float(value) for value in vectors[1:] @ vectors[0]]
        best = max(range(len(known)), key=lambda i: cosines[i])
        return known[best] if cosines[best] >= self.options.same else ""

    def _review(self, proposal: Proposal, taken: Mapping[str, str]) -> Rating:
        """Return the review; a reviewer that gives none does not object."""
        idea = summary(proposal, taken)
        fields = {
            "proposal": proposal.to_json(),
            "taken": dict(taken),
            "parent": self.parent,
            "passages": self._passages(idea),
            "tried": [_line_shown(line) for line in self._near(idea)],
        }
        rating = self.desk.ask_json(
            "reviewer",
            "reviewer",
            fields,
            Rating,
            tokens=self.options.note_tokens,
            temperature=0.0,
            purpose={"stage": "review", "proposal": proposal.to_json()},
        )
        self.desk.note("reviewer", "no rating" if rating is None else f"rated {rating.score}")
        return rating or Rating(reason="no usable review", score=self.options.proposal_threshold)

    def _near(self, query: str) -> Sequence[str]:
        return self.context.tried(query, self.options.tried)

    def _tried(self, query: str) -> list[str]:
        """Return attempts similar to `query`, except the children of the parent, shown anyway."""
        shown = {each.change for each in self.history.children}
        return [_line_shown(line) for line in self._near(query) if _first(line) not in shown]

    def _passages(self, query: str) -> list[dict[str, str]]:
        return shown_passages(self.context, query, self.options.passages)


def shown_passages(context: OperatorContext, query: str, limit: int) -> list[dict[str, str]]:
    """Return passages of the knowledge base in the form used in prompts."""
    found = context.search(query, limit) if limit else ()
    return [{"title": each.title, "text": each.text[:_PASSAGE]} for each in found]


def _marks(idea: str) -> list[str]:
    """Return the places and the numbers that an idea names."""
    return sorted([*_PATH.findall(idea), *_NUMBER.findall(idea)])


def _first(line: str) -> str:
    """Return the sentence of an attempt, without the number of the design before it."""
    head = line.partition("\n")[0]
    return head.partition("): ")[2] or head


def _gifts(tree: GABTree) -> dict[str, Place]:
    """Return the places of a donor whose units may be taken: all except its root."""
    return {place.path: place for place in tree.places() if place.parent is not None}


def _place_shown(place: Place) -> dict[str, str]:
    unit = place.node.unit
    says = unit.doc.partition("\n")[0]
    return {"path": place.path, "unit": unit.name, "interface": unit.interface, "says": says}


def _parent_shown(parent: Parent, history: History) -> dict[str, Any]:
    return {
        "design": parent.design,
        "fitness": parent.fitness,
        "change": _short(parent.change, _CHANGE),
        "tree": parent.tree.describe(),
        "results": [_result_shown(each) for each in history.results[-_RUNGS:]],
        "findings": [_short(each, _FINDING) for each in history.findings[:_FINDINGS]],
        "children": [_child_shown(each) for each in history.children],
    }


def _donor_shown(donor: Parent, context: OperatorContext) -> dict[str, Any]:
    """Return the second parent without its children: attempts on the first are enough."""
    return _parent_shown(donor, context.history(donor.design, 0))


def _result_shown(result: RungResult) -> dict[str, Any]:
    scores = [
        {"name": name, "value": own, "reference": reference}
        for name, (own, reference) in list(result.scores.items())[:_SCORES]
    ]
    return {
        "scale": result.scale,
        "gain": result.gain,
        "within_noise": result.within_noise,
        "scores": scores,
        "failed": _short(result.reason, _OUTCOME),
    }


def _child_shown(child: Tried) -> dict[str, str]:
    return {"change": _short(child.change, _CHANGE), "outcome": _short(child.summary, _OUTCOME)}


def _line_shown(line: str) -> str:
    """Return an attempt on one line; a long sentence is cut, its outcome is not."""
    change, _, outcome = line.partition("\n")
    return f"{_short(change, _CHANGE)} {_short(outcome, _OUTCOME)}".rstrip()


def _short(text: str, most: int) -> str:
    """Return a text on one line, cut where it is long; some languages have no spaces to cut at."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 4].rstrip()} ..."


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True)


def _model(paths: Sequence[str], gifts: Sequence[str], most: int) -> type[BaseModel]:
    """Return the model of a reply: places, and units to take, come from closed lists."""
    fields: dict[str, Any] = {"path": (Literal[tuple(paths)], ...)}
    if gifts:
        fields["take"] = (Literal[(NOTHING, *gifts)], NOTHING)
    fields["change"] = (str, Field(default="", max_length=600))
    change = create_model("Change", __base__=_Strict, **fields)
    reply: dict[str, Any] = {
        "title": (str, Field(min_length=1, max_length=120)),
        "motivation": (str, Field(max_length=1000)),
        "changes": (list[change], Field(min_length=1, max_length=most)),
        "expected_effect": (str, Field(default="", max_length=400)),
    }
    return create_model("Idea", __base__=_Strict, **reply)
