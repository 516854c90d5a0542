"""Crossover by language models: take units from a second design and rewrite others."""

from __future__ import annotations

from collections.abc import Sequence

from genesys_engine.operators.llm.designing import LLMDesigner
from genesys_engine.operators.llm.ideation import Brief
from genesys_engine.operators.llm.options import LLMOptions
from genesys_engine.plugins.api import Child, OperatorContext, OperatorNotApplicable, Parent


class LLMCrossoverOptions(LLMOptions):
    """Options of `LLMCrossover`."""


class LLMCrossover(LLMDesigner):
    """Merges two designs: the proposer sees the units of both.

    A unit taken unchanged from the second design is inserted by reference and costs no tokens.
    For a unit to rewrite, the coder also sees the unit that does the same job in the second
    design.
    """

    arity: tuple[int, int] = (2, 2)

    def __call__(self, parents: Sequence[Parent], context: OperatorContext) -> Child:
        """Return the first parent with the changes of an accepted proposal."""
        if len(parents) != 2:
            raise OperatorNotApplicable(f"needs two parents, got {len(parents)}")
        receiver, donor = parents
        if receiver.tree.digest == donor.tree.digest:
            raise OperatorNotApplicable("both parents are the same design")
        return self.design(Brief(receiver, donor), self.desk(context), context)
