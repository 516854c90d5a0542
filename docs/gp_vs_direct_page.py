"""Writes the results into docs/gp-vs-direct.md: python docs/gp_vs_direct_page.py STUDY.

STUDY is the folder of a study of `experiments/gp_vs_direct.toml` or `gp_vs_direct_live.toml`; a
simulation and an evolution study have places of their own in the page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from genesys_engine.engine.compare.reading import read
from genesys_engine.engine.compare.summary import Summary, findings, tables

PAGE = Path(__file__).with_name("gp-vs-direct.md")
_PARTIAL = re.compile(r"PARTIAL: [^.]*\. ")


def place(study: Summary) -> str:
    """Return what the page calls the place of a study."""
    if study.study == "evolution":
        return "evolution"
    return "simulation" if study.simulation else "results"


def results(study: Summary) -> Iterator[str]:
    """Yield the lines of a study's results."""
    if not study.complete:
        items = "runs" if study.study == "evolution" else "proposals"
        yield f"**Partial results:** not every arm has met all its {items} yet (n in the table)."
        yield "What the intervals leave open is open."
        yield ""
    for table in tables(study):
        yield from [f"{_PARTIAL.sub('', table.title)}:", ""]
        yield f"| {' | '.join(table.columns)} |"
        yield "|---" * len(table.columns) + "|"
        for row in table.rows:
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
        yield ""
    yield from (f"- {line}" for line in findings(study))


def main() -> None:
    """Replace the results in the page."""
    study = read(Path(sys.argv[1]))
    begin, end = f"<!-- {place(study)} -->", f"<!-- end of {place(study)} -->"
    lines = "\n".join(results(study))
    text = PAGE.read_text(encoding="utf-8")
    found = re.sub(
        f"{begin}.*{end}", lambda _: f"{begin}\n\n{lines}\n\n{end}", text, flags=re.DOTALL
    )
    PAGE.write_text(found, encoding="utf-8")


if __name__ == "__main__":
    main()
