"""A study in Python: its folder, read as frames."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from genesys_engine.engine.api import frames
from genesys_engine.engine.api.failures import engine_errors
from genesys_engine.engine.compare.page import write_page
from genesys_engine.engine.compare.reading import read
from genesys_engine.engine.compare.store import RUNS, StudyStore
from genesys_engine.engine.compare.summary import Summary, findings, tables
from genesys_engine.engine.store.run_store import Store

if TYPE_CHECKING:
    import pandas as pd

    from genesys_engine.engine.api.runs import Run


class Study:
    """A study, by its folder; every property and method reads it afresh."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the study in a folder.

        Raises:
            InputError: there is none, or it cannot be read.
        """
        self.path = Path(path)
        with engine_errors(), StudyStore.open(self.path):
            pass

    @property
    def summary(self) -> Summary:
        """Everything that `genesys-engine compare --json` gives, typed."""
        with engine_errors():
            return read(self.path)

    @property
    def complete(self) -> bool:
        """Whether no planned result is missing."""
        return self.summary.complete

    @property
    def findings(self) -> tuple[str, ...]:
        """One sentence for each comparison with the first arm."""
        return tuple(findings(self.summary))

    @property
    def comparisons(self) -> pd.DataFrame:
        """Every pair of arms compared (`frames.COMPARISONS`), a row for each measure."""
        rows = (
            {
                **{name: getattr(each, name) for name in ("first", "second", "measure", "n")},
                "proposals": each.proposals,
                "difference": each.difference,
                "low": None if each.interval is None else each.interval.low,
                "high": None if each.interval is None else each.interval.high,
                "sentence": each.sentence,
            }
            for each in self.summary.comparisons
        )
        return frames.frame(frames.COMPARISONS, rows)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables of `genesys-engine compare`, by title, with their numbers as text."""
        import pandas as pd

        return {
            table.title: pd.DataFrame(list(table.rows), columns=list(table.columns))
            for table in tables(self.summary)
        }

    def runs(self) -> dict[str, Run]:
        """Return the runs of an evolution study, by arm and seed."""
        from genesys_engine.engine.api.runs import Run

        folder = self.path / RUNS
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        return {each.name: Run(each) for each in found if Store.exists(each)}

    def report(self) -> Path:
        """Write the page of the study, one self-contained HTML file, and return its path."""
        with engine_errors():
            return write_page(self.summary, self.path)

    def __repr__(self) -> str:
        """Return its folder and its arms."""
        found = self.summary
        arms = ", ".join(f"{arm.arm} {arm.n}/{arm.planned}" for arm in found.arms)
        return f"<Study {str(self.path)!r}: {found.study}; results by arm: {arms}>"

    def _repr_html_(self) -> str:
        from genesys_engine.engine.report.templates import render

        found = self.summary
        return render("card_study", study=found, tables=tables(found), sentences=findings(found))
