"""Scratch design by language models: a new root over parts of the nearest known design."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from genesys_engine.gab import library
from genesys_engine.operators.llm.designing import LLMDesigner
from genesys_engine.operators.llm.desk import Desk
from genesys_engine.operators.llm.ideation import Brief, shown_passages
from genesys_engine.operators.llm.options import LLMOptions
from genesys_engine.operators.llm.placing import spaced
from genesys_engine.plugins.api import (
    Child,
    DesignAbandoned,
    OperatorContext,
    OperatorNotApplicable,
    Parent,
)
from genesys_engine.plugins.knowledge.embeddings import open_embedding

_QUERY = "new architecture of a language model block"


class LLMScratchOptions(LLMOptions):
    """Options of `LLMScratch`."""


class Sketch(BaseModel):
    """The plan of a design from scratch."""

    model_config = ConfigDict(frozen=True)

    title: str = Field(min_length=1, max_length=120)
    sketch: str = Field(min_length=1, max_length=1500)


class LLMScratch(LLMDesigner):
    """Sketches a block without parents, and rewrites the root of a seed.

    Small models cannot write a valid block from scratch, so the new root starts from the library
    design whose units are most similar to the sketch.
    """

    arity: tuple[int, int] = (0, 0)

    def __call__(self, parents: Sequence[Parent], context: OperatorContext) -> Child:
        """Return a design with a root of its own."""
        if parents:
            raise OperatorNotApplicable(f"needs no parents, got {len(parents)}")
        desk = self.desk(context)
        names = context.seeds or library.seed_names()
        sketch = self._sketch(desk, names, context)
        idea = f"{sketch.title}. {sketch.sketch}"
        name = nearest_design(idea, names)
        desk.note("proposer", "sketched", title=sketch.title, like=name)
        start = Parent(-1, library.seed(name), None, f"Seed design {name}.")
        return self.design(Brief(start, must=("root",), idea=idea), desk, context)

    def _sketch(self, desk: Desk, names: Sequence[str], context: OperatorContext) -> Sketch:
        designs = [{"name": name, "tree": library.seed(name).describe()} for name in names]
        fields = {
            "designs": designs,
            "passages": shown_passages(context, _QUERY, self.options.passages),
            "tried": list(context.tried("Started afresh.", self.options.tried)),
        }
        sketch = desk.ask_json(
            "proposer",
            "sketcher",
            fields,
            Sketch,
            tokens=self.options.proposal_tokens,
            temperature=self.options.proposal_temperature,
            purpose={"stage": "sketch", "designs": list(names)},
        )
        if sketch is None:
            raise DesignAbandoned(
                "the sketch of a design from scratch was malformed twice",
                code="proposal.malformed",
                details={"trace": list(desk.trace)},
            )
        return sketch


def nearest_design(idea: str, names: Sequence[str]) -> str:
    """Return the seed design that has the unit most similar to `idea`."""
    embedding = open_embedding("hashed")

    def nearness(name: str) -> float:
        units = library.seed(name).units()
        texts = [f"{spaced(unit.name)}. {unit.doc.partition(chr(10))[0]}" for unit in units]
        vectors = embedding.embed([idea, *texts])
        return float((vectors[1:] @ vectors[0]).max())

    return max(names, key=nearness)
