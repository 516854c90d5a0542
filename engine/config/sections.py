"""The sections of a document that has been read, before they are held against each other."""

from __future__ import annotations

from dataclasses import dataclass

from genesys_engine.engine.config.schema import (
    BudgetSection,
    CompareSection,
    Component,
    EvaluatorEntry,
    ExecutorSection,
    FitnessSection,
    KnowledgeSection,
    LadderSection,
    LLMSection,
    OperatorEntry,
    PluginsSection,
    PopulationSection,
    RunSection,
    SandboxSection,
    VariationSection,
)
from genesys_engine.engine.corpus.options import CorpusOptions


@dataclass(frozen=True)
class Sections:
    """All sections of an `Experiment`; one that is faulty is None."""

    run: RunSection | None
    population: PopulationSection | None
    corpus: CorpusOptions | None
    ladder: LadderSection | None
    selection: Component | None
    operators: tuple[OperatorEntry, ...] | None
    variation: VariationSection | None
    trainer: Component | None
    evaluators: tuple[EvaluatorEntry, ...] | None
    checkers: tuple[Component, ...] | None
    trackers: tuple[Component, ...] | None
    llm: LLMSection | None
    knowledge: KnowledgeSection | None
    fitness: FitnessSection | None
    executor: ExecutorSection | None
    sandbox: SandboxSection | None
    budget: BudgetSection | None
    compare: CompareSection | None
    plugins: PluginsSection | None
