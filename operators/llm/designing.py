"""From a brief to a child: what mutation, crossover and scratch share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from genesys_engine.gab.errors import TreeError
from genesys_engine.gab.tree import GABTree
from genesys_engine.operators.llm.desk import Desk
from genesys_engine.operators.llm.ideation import Brief, Idea, find_idea
from genesys_engine.operators.llm.implementers import implementer
from genesys_engine.operators.llm.options import LLMOptions
from genesys_engine.operators.llm.placing import find, place_unit
from genesys_engine.operators.llm.templates import Templates
from genesys_engine.plugins.api import (
    LLM,
    Child,
    DesignAbandoned,
    OperatorContext,
    OperatorNotApplicable,
)


class LLMDesigner:
    """Ideation, then implementation; the base of the operators that ask language models."""

    def __init__(self, options: LLMOptions) -> None:
        """Read the templates.

        Raises:
            InputError: the implementer is unknown, or a template is invalid.
        """
        self.options = options
        self.templates = Templates(options)
        self.implementer = implementer(options.implementer, options)

    def desk(self, context: OperatorContext) -> Desk:
        """Return a desk for one design.

        Raises:
            OperatorNotApplicable: the experiment has no language model, or no check is given.
        """
        if context.check is None:
            raise OperatorNotApplicable("it checks what is written, which needs the run's check")
        return Desk(context, self.templates, self.options)

    def design(self, brief: Brief, desk: Desk, context: OperatorContext) -> Child:
        """Return the child of an accepted idea.

        Raises:
            DesignAbandoned: no idea was accepted, or it could not be carried out.
        """
        idea = find_idea(brief, desk, context, self.options)
        try:
            base = replace(brief.parent, tree=_with_gifts(brief, idea))
        except TreeError as error:
            details = self._details(idea, desk.trace, context)
            message = f"{idea.summary} {error.message}."
            raise DesignAbandoned(message, code="tree.misfit", details=details) from None
        tree, failure = base.tree, ""
        trace: list[Mapping[str, Any]] = [*desk.trace]
        if idea.proposal.changes:
            parents = [base] if brief.donor is None else [base, brief.donor]
            made = self.implementer.implement(idea.proposal, parents, context)
            trace += made.trace
            failure = made.failure
            tree = made.tree if made.tree is not None else tree
        details = self._details(idea, trace, context)
        if failure:
            message = f"{idea.summary} It could not be implemented; the last failure: {failure}."
            raise DesignAbandoned(message, code=failure, details=details)
        return Child(tree, idea.summary, details)

    def _details(
        self, idea: Idea, trace: Sequence[Mapping[str, Any]], context: OperatorContext
    ) -> dict[str, Any]:
        return {
            "proposal": idea.proposal.to_json(),
            "taken": dict(idea.taken),
            "review": dict(idea.review),
            "trace": list(trace),
            "usage": usage_of(context.llm),
        }


def _with_gifts(brief: Brief, idea: Idea) -> GABTree:
    """Return the parent's tree with the donor's units, inserted by reference at no cost.

    Raises:
        TreeError: a unit does not fit after all, such as one that reads a value of Z.
    """
    tree = brief.parent.tree
    for path, other in idea.taken.items():
        assert brief.donor is not None, "only a donor's units can be taken"
        gift = find(brief.donor.tree, other)
        assert gift is not None, "the place was chosen from a list"
        below = brief.donor.tree.children(gift.index)
        children = {slot: brief.donor.tree.subtree(at) for slot, at in below.items()}
        tree = place_unit(tree, path, gift.node.unit, children=children)
    tree.validate()
    return tree


def usage_of(llm: LLM | None) -> Mapping[str, Any]:
    """Return the usage of a design by role, as JSON data."""
    return {} if llm is None else {role: asdict(used) for role, used in llm.usage().items()}
