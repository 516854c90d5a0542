"""What is searched, and for what: seeds and population, the ladder of scales, the fitness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, JsonValue, PrivateAttr

from genesys_engine.engine.config.schema.base import Count, PositiveFloat, Probability, Section

if TYPE_CHECKING:
    from genesys_engine.gab.tree import GABTree


@dataclass(frozen=True)
class OwnSeed:
    """A seed that is not of the library: its tree in JSON, its digest, a sentence on it, and the
    whole path that it was read from, as an experiment may name it again."""

    tree: Mapping[str, JsonValue]
    digest: str
    change: str
    place: str


class PopulationSection(Section):
    """Seeds, population and parents.

    Once an experiment is read, `seeds` and `reference` are names, and those that `from` adds are
    among them (see `seeds.read_seeds`).
    """

    seeds: tuple[str, ...] = Field(
        ("gpt", "mamba2", "retnet", "rwkv6", "ttt"),
        min_length=1,
        description="designs from which evolution starts: names of the library, files of your"
        " own (a tree in .json, a block in .py), designs RUN:ID of another run; paths are relative"
        " to the experiment file",
    )
    from_run: str | None = Field(
        None,
        alias="from",
        description="folder of a run whose best designs join the seeds, relative to the experiment"
        " file",
    )
    from_best: Count = Field(4, description="number of these designs, if `from` names a run")
    reference: str = Field(
        "gpt", description="the seed that fitness is relative to, trained at every rung"
    )
    start: Literal["seeds", "reference"] = Field(
        "seeds",
        description="which seeds are varied; reference: that one alone, and the others are rivals,"
        " which are trained and raced against",
    )
    size: Count = Field(24, description="mu: designs that may become parents")
    offspring: Count = Field(8, description="lambda: children per generation (generational)")
    crossover_after: int = Field(
        10, ge=0, description="designs before a child may have two parents"
    )
    scratch_after: int = Field(20, ge=0, description="designs before a child may have no parent")
    restart: Probability = Field(0.05, description="probability to vary a seed again")
    parents: tuple[Probability, Probability, Probability] = Field(
        (0.05, 0.80, 0.15), description="probabilities of 0, 1 and 2 parents, summing to 1"
    )
    _own: dict[str, OwnSeed] = PrivateAttr(default_factory=dict)

    @property
    def own(self) -> Mapping[str, OwnSeed]:
        """The seeds that are not of the library, by name."""
        return self._own

    def tree(self, seed: str) -> GABTree:
        """Return the tree of a seed."""
        from genesys_engine.gab import library
        from genesys_engine.gab.tree import GABTree

        own = self._own.get(seed)
        return library.seed(seed) if own is None else GABTree.from_json(own.tree)

    def with_seeds(self, seeds: Mapping[str, OwnSeed | None], reference: str) -> PopulationSection:
        """Return the section with the seeds that were read, in order of their names here."""
        read = self.model_copy(
            update={"seeds": tuple(seeds), "reference": reference, "from_run": None}
        )
        read._own = {name: own for name, own in seeds.items() if own is not None}
        return read


class VariationSection(Section):
    """How children are made from parents."""

    operator_selection: Literal["fixed", "adaptive"] = Field(
        "fixed",
        description="fixed: operators are drawn by their `weight`; adaptive: their weights, and"
        " those of the kinds of places that are changed, follow the gains of the children so far,"
        " and what was rejected or failed is drawn less",
    )


class Rung(Section):
    """One scale of the ladder."""

    scale: str = Field(description="model size, such as 0.2M, 1M, 4M, 14M")
    verifications: Count = Field(
        description="hard cap of trainings at this rung, `noise_seeds` of the reference among them"
    )
    tokens: Count | None = Field(None, description="training tokens; default: from the scale")
    batch_tokens: Count | None = Field(None, description="tokens per step; default: from the scale")
    peak_lr: PositiveFloat | None = Field(
        None,
        description="peak learning rate of AdamW; default: from the scale. The rates of Muon"
        " scale with it",
    )
    noise_seeds: int = Field(
        1,
        ge=1,
        le=999,
        description="training seeds of the reference, to measure noise; trainings cached by"
        " `genesys-engine calibrate` or an earlier run are not repeated",
    )


class LadderSection(Section):
    """The ladder of scales: many small trainings, few large ones."""

    release: Literal["gradual", "halving"] = Field(
        "gradual",
        description="gradual: an upper rung opens while the lower one is being used up; halving:"
        " once it is used up",
    )
    rungs: tuple[Rung, ...] = Field(
        (
            Rung(scale="0.2M", verifications=29, tokens=400_000, batch_tokens=512, noise_seeds=5),
            Rung(scale="1M", verifications=7, tokens=800_000, batch_tokens=512),
        ),
        min_length=1,
        description="from the smallest scale to the largest",
    )
    finalists: int = Field(
        0,
        ge=0,
        description="best children that race against all seeds of the population, trained again"
        " with fresh seeds at the largest scale; the verdict then rests on the race",
    )
    finalist_seeds: int = Field(
        4,
        ge=1,
        le=999,
        description="maximum number of fresh training seeds in the race: after 2, 4, 8, ... and the"
        " last, designs that are worse than the leader drop out",
    )


Metric = Annotated[str, Field(min_length=1)]


class FitnessSection(Section):
    """What is maximised: the gain in per cent over the reference, averaged over rungs."""

    metric: Metric | Annotated[tuple[Metric, ...], Field(min_length=1)] = Field(
        "bits_per_byte",
        description='name of a score, or "accuracy": the mean of all zero-shot accuracies; of'
        " several in a list, the mean of the gains counts",
    )
    relative_to: Literal["reference", "untrained"] = Field(
        "reference",
        description="denominator of a gain; reference: its score; untrained: its improvement over"
        " the same model with random weights",
    )

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that fitness is the mean gain of."""
        return (self.metric,) if isinstance(self.metric, str) else self.metric
