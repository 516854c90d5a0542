"""What a section of the report promises."""

from __future__ import annotations

from pathlib import Path

from genesys_engine.plugins.targets import load_target
from genesys_engine.plugins.testing.contract import Contract
from genesys_engine.plugins.testing.engine import engine


class ReportSectionContract(Contract):
    """Titles and HTML, escaped, from any run, equal at every call."""

    kind = "report_section"
    may_be_empty = False
    """Whether the section has nothing to show of a run such as the sample: it is left out then."""

    def section(self, run_folder: Path) -> tuple[str, str]:
        """Return (title, HTML) of a run."""
        found = load_target(self.description().target)
        with engine().open(run_folder) as store:
            title, body = (found() if isinstance(found, type) else found)(store)
        assert isinstance(title, str)
        assert isinstance(body, str)
        return title, body

    def test_it_shows_a_run(self, run_folder: Path) -> None:
        """A title without markup, and a body unless the run may have nothing to show; twice."""
        title, body = self.section(run_folder)
        assert title.strip()
        assert "<" not in title
        assert body.strip() or self.may_be_empty
        assert self.section(run_folder) == (title, body)

    def test_texts_of_a_run_are_escaped(self, run_folder: Path, tmp_path: Path) -> None:
        """The name of a run and the sentence of a design may hold markup."""
        import shutil
        import sqlite3

        copy = tmp_path / "hostile"
        shutil.copytree(run_folder, copy)
        with sqlite3.connect(copy / "run.sqlite") as store:
            store.execute("UPDATE designs SET change = '<b onclick=x>changed</b>'")
            store.execute("UPDATE meta SET value = '\"<b onclick=x>\"' WHERE key = 'name'")
        store.close()
        assert "<b onclick" not in self.section(copy)[1]

    def test_it_is_part_of_the_report(self, run_folder: Path, tmp_path: Path) -> None:
        """The engine finds it and puts it into the page."""
        title, body = self.section(run_folder)
        page = engine().report(run_folder, self.name)
        assert body in page
        assert title in page or not body.strip()
