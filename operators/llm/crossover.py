"""Crossover by language models: units of a second design are taken over, others rewritten."""

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

    A unit of the second design that is taken as it is comes by reference and costs no token; a
    unit that is to be rewritten is shown to the coder next to one that does the same job in the
    second design.
    """

    arity: tuple[int, int] = (2, 2)

    def __call__(self, parents: Sequence[Parent], context: OperatorContext) -> Child:
        """Return the first parent with what an accepted proposal takes from the second."""
        if len(parents) != 2:
            raise OperatorNotApplicable(f"needs two parents, got {len(parents)}")
        receiver, donor = parents
        if receiver.tree.digest == donor.tree.digest:
            raise OperatorNotApplicable("both parents are the same design")
        return self.design(Brief(receiver, donor), self.desk(context), context)
