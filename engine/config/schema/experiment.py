"""A whole experiment: its sections, their defaults, and what of it can change a result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from copy import deepcopy
from pathlib import PurePath
from typing import Any

from pydantic import Field, PrivateAttr

from genesys_engine.engine.common.options import TomlTable
from genesys_engine.engine.config.schema.base import (
    Component,
    EvaluatorEntry,
    OperatorEntry,
    Section,
)
from genesys_engine.engine.config.schema.compare import CompareSection
from genesys_engine.engine.config.schema.llm import KnowledgeSection, LLMSection
from genesys_engine.engine.config.schema.run import (
    BudgetSection,
    ExecutorSection,
    PluginsSection,
    RunSection,
    SandboxSection,
)
from genesys_engine.engine.config.schema.search import (
    FitnessSection,
    LadderSection,
    PopulationSection,
    VariationSection,
)
from genesys_engine.engine.corpus.options import CorpusOptions

DEFAULT_OPERATORS = (
    "hyperparameter_mutation",
    "unit_replacement",
    "subtree_mutation",
    "insertion",
    "removal",
    "typed_crossover",
    "layering",
    "new_unit",
    "seed_design",
)


class Experiment(Section):
    """A whole experiment, checked; made by `load_experiment`.

    `paths` are the whole paths in it, each with its place, as in ("corpus", "paths", 0).
    """

    _paths: tuple[tuple[tuple[str | int, ...], str], ...] = PrivateAttr(())

    run: RunSection = Field(default_factory=RunSection, description="The course of the run.")
    population: PopulationSection = Field(
        default_factory=PopulationSection, description="Seeds, population and parents."
    )
    corpus: CorpusOptions = Field(default_factory=CorpusOptions, description="The training text.")
    ladder: LadderSection = Field(
        default_factory=LadderSection,
        description="The ladder of scales: many small trainings, few large ones.",
    )
    selection: Component = Field(
        default_factory=lambda: Component(use="quadrant"),
        description="Selection of parents, promotions and survivors.",
    )
    operators: tuple[OperatorEntry, ...] = Field(
        default_factory=lambda: tuple(OperatorEntry(use=name) for name in DEFAULT_OPERATORS),
        min_length=1,
        description="Operators that create children from parents.",
    )
    variation: VariationSection = Field(
        default_factory=VariationSection, description="How operators are chosen."
    )
    trainer: Component = Field(
        default_factory=lambda: Component(use="torch"), description="The trainer."
    )
    evaluators: tuple[EvaluatorEntry, ...] = Field(
        default_factory=lambda: (EvaluatorEntry(use="heldout"), EvaluatorEntry(use="lm_eval")),
        min_length=1,
        description="Evaluators that score trained models.",
    )
    checkers: tuple[Component, ...] = Field(
        (), description="Additional checks that a block must pass before training."
    )
    trackers: tuple[Component, ...] = Field(
        (), description="Trackers that receive the event log during the run."
    )
    llm: LLMSection | None = Field(
        None, description="Language models for operators; without this section there are none."
    )
    knowledge: KnowledgeSection = Field(
        default_factory=KnowledgeSection, description="Knowledge base for operators."
    )
    fitness: FitnessSection = Field(
        default_factory=FitnessSection,
        description="The objective to maximise: the gain over the reference in percent.",
    )
    executor: ExecutorSection = Field(
        default_factory=ExecutorSection,
        description="Where checks and verifications run, and their resource limits.",
    )
    sandbox: SandboxSection = Field(
        default_factory=SandboxSection,
        description="How strictly candidates are isolated from the machine.",
    )
    budget: BudgetSection = Field(
        default_factory=BudgetSection,
        description="Hard caps, with warnings at 50 and 80 %; a run stopped by a cap can be"
        " resumed.",
    )
    compare: CompareSection = Field(
        default_factory=CompareSection,
        description="Arms of `genesys-engine compare`; ignored by `run`.",
    )
    plugins: PluginsSection = Field(
        default_factory=PluginsSection,
        description="Plugins to disable, to require, or to load from local files.",
    )

    def to_json(self) -> TomlTable:
        """Return all of it, defaults included, in the form of the file."""
        data: TomlTable = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, Component):
                data[name] = value.to_json()
            elif isinstance(value, tuple):
                data[name] = [item.to_json() for item in value]
            else:
                data[name] = value.model_dump(mode="json", exclude_none=True)
        own = self.population.own
        data["population"]["seeds"] = [
            own[name].place if name in own else name for name in self.population.seeds
        ]
        return data

    @property
    def paths(self) -> tuple[tuple[tuple[str | int, ...], str], ...]:
        """The whole paths in it, each with its place."""
        return self._paths

    @property
    def digest(self) -> str:
        """SHA-256 of all that can change a result.

        Left out is what must not, and what a resumed run may therefore change: the name, the
        numbers of workers and designers, the executor, the sandbox, the trackers, the caps of
        the budget next to the designs, the lists of plugins, what is compared, and of the language
        models everything that does not tell them apart: addresses, rates, pauses.  Where a file
        lies changes none either: a path counts by its last part.
        """
        text = json.dumps(self.decisive(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def decisive(self) -> TomlTable:
        """Return what `digest` is made of, in the form of the file."""
        data = self.to_json()
        population = data["population"]
        del population["from_best"]  # what it has added is among the seeds
        own = self.population.own
        population["seeds"] = [
            f"{name}@{own[name].digest}" if name in own else name for name in self.population.seeds
        ]
        if self.llm is None:  # an experiment without language models keeps the digest it had
            del data["knowledge"]
        else:
            data["llm"] = self.llm.decisive()
            # Where a base lies does not matter; a run records what is in it.
            data["knowledge"]["base"] = bool(self.knowledge.base)
        if self.fitness.relative_to == "reference":  # an experiment keeps the digest it had
            del data["fitness"]["relative_to"]
        if self.variation == VariationSection():
            del data["variation"]
        data = deepcopy(data)  # options are the experiment's own, which a run still reads
        without_folders(data, self.paths)
        for name in ("compare", "executor", "plugins", "sandbox", "trackers"):
            del data[name]
        for name in ("name", "workers", "designers"):
            del data["run"][name]
        data["budget"] = {"designs": self.budget.designs}
        return data


def without_folders(data: TomlTable, paths: Iterable[tuple[tuple[str | int, ...], str]]) -> None:
    """Put the last part of each path in its place, where that is in `data` at all."""
    for place, path in paths:
        inner: Any = data
        try:
            for part in place[:-1]:
                inner = inner[part]
            if inner[place[-1]] == path:
                inner[place[-1]] = PurePath(path).name
        except (LookupError, TypeError):
            continue
