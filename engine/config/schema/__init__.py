"""Sections and keys of an experiment, with their defaults, limits and meaning.

This is the reference: `genesys-engine init` writes its file from the descriptions here.
"""

from genesys_engine.engine.config.schema.base import (
    Component,
    EvaluatorEntry,
    OperatorEntry,
    Section,
)
from genesys_engine.engine.config.schema.compare import (
    ARM_CAPS,
    CompareArm,
    CompareSection,
)
from genesys_engine.engine.config.schema.experiment import (
    DEFAULT_OPERATORS,
    Experiment,
    without_folders,
)
from genesys_engine.engine.config.schema.llm import (
    KnowledgeSection,
    LLMSection,
)
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
    OwnSeed,
    PopulationSection,
    Rung,
    VariationSection,
)

__all__ = [
    "ARM_CAPS",
    "DEFAULT_OPERATORS",
    "BudgetSection",
    "CompareArm",
    "CompareSection",
    "Component",
    "EvaluatorEntry",
    "ExecutorSection",
    "Experiment",
    "FitnessSection",
    "KnowledgeSection",
    "LLMSection",
    "LadderSection",
    "OperatorEntry",
    "OwnSeed",
    "PluginsSection",
    "PopulationSection",
    "RunSection",
    "Rung",
    "SandboxSection",
    "Section",
    "VariationSection",
    "without_folders",
]
