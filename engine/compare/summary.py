"""The summary of a study of either kind, and its tables."""

from __future__ import annotations

from genesys_engine.engine.compare.evolution_summary import EvolutionSummary
from genesys_engine.engine.compare.evolution_tables import evolution_tables
from genesys_engine.engine.compare.implementation_summary import ImplementationSummary
from genesys_engine.engine.compare.implementation_tables import implementation_tables
from genesys_engine.engine.compare.tables import Table

Summary = ImplementationSummary | EvolutionSummary


def tables(study: Summary) -> list[Table]:
    """Return the tables of a study, those of plugins last."""
    if isinstance(study, EvolutionSummary):
        return [*evolution_tables(study), *study.tables]
    return [*implementation_tables(study), *study.tables]


def findings(study: Summary) -> list[str]:
    """Return one sentence for each comparison with the first arm."""
    return [each.sentence for each in study.comparisons if each.first == study.arms[0].arm]
