"""Mutation by language models: units of one design are rewritten."""

from __future__ import annotations

from collections.abc import Sequence

from genesys_engine.operators.llm.designing import LLMDesigner
from genesys_engine.operators.llm.ideation import Brief
from genesys_engine.operators.llm.options import LLMOptions
from genesys_engine.plugins.api import Child, OperatorContext, OperatorNotApplicable, Parent


class LLMMutationOptions(LLMOptions):
    """Options of `LLMMutation`."""


class LLMMutation(LLMDesigner):
    """Proposes a change to one or more units of a design, and rewrites them.

    Raises `DesignAbandoned` if tokens were spent without producing a child.
    """

    arity: tuple[int, int] = (1, 1)

    def __call__(self, parents: Sequence[Parent], context: OperatorContext) -> Child:
        """Return the parent with the units of an accepted proposal."""
        if len(parents) != 1:
            raise OperatorNotApplicable(f"needs one parent, got {len(parents)}")
        return self.design(Brief(parents[0]), self.desk(context), context)
