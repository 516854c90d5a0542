"""A study: its tables and sentences, and the runs that belong to it."""

from __future__ import annotations

from genesys_engine.engine.compare.evolution_figures import evolution_figures
from genesys_engine.engine.compare.evolution_summary import EvolutionSummary
from genesys_engine.engine.compare.implementation_figures import implementation_figures
from genesys_engine.engine.compare.reading import read
from genesys_engine.engine.compare.summary import findings, tables
from genesys_engine.engine.dashboard.answers.designs import drawing
from genesys_engine.engine.dashboard.answers.overview import listed
from genesys_engine.engine.dashboard.catalogue import RUN, Catalogue, Entry
from genesys_engine.engine.report.figures import Figure


def study(catalogue: Catalogue, entry: Entry) -> dict[str, object]:
    """Return a study as far as it has come.

    Raises:
        GenesysError: it cannot be read.
    """
    found = read(entry.folder)
    evolution = isinstance(found, EvolutionSummary)
    plots = evolution_figures(found) if evolution else implementation_figures(found)  # type: ignore[arg-type]
    runs = [each for each in catalogue.entries() if each.kind == RUN and each.study == entry.key]
    return {
        "name": found.name,
        "folder": str(entry.folder),
        "complete": found.complete,
        "simulation": found.simulation,
        "sentences": findings(found),
        "tables": [
            {
                "title": table.title,
                "columns": list(table.columns),
                "rows": [[str(cell) for cell in row] for row in table.rows],
                "figures": [
                    drawing(each) for each in plots.get(number, ()) if isinstance(each, Figure)
                ],
            }
            for number, table in enumerate(tables(found))
        ],
        "runs": listed(runs),
    }
