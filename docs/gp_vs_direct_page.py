"""Writes the results into docs/gp-vs-direct.md: python docs/gp_vs_direct_page.py STUDY.

STUDY is the folder of a study of `experiments/gp_vs_direct.toml` or `gp_vs_direct_live.toml`; a
simulation and an evolution study have places of their own in the page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genesys_engine.engine.cli.commands.compare import said
from genesys_engine.engine.compare.session import read
from genesys_engine.engine.compare.tables import tables

PAGE = Path(__file__).with_name("gp-vs-direct.md")
_PARTIAL = re.compile(r"PARTIAL: [^.]*\. ")


def place(data: Mapping[str, Any]) -> str:
    """Return what the page calls the place of a study."""
    if data["study"] == "evolution":
        return "evolution"
    return "simulation" if data["simulation"] else "results"


def results(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a study's results."""
    if not data["complete"]:
        items = "runs" if data["study"] == "evolution" else "proposals"
        yield f"**Partial results:** not every arm has met all its {items} yet (n in the table)."
        yield "What the intervals leave open is open."
        yield ""
    for title, columns, rows in tables(data):
        yield from [f"{_PARTIAL.sub('', title)}:", ""]
        yield f"| {' | '.join(columns)} |"
        yield "|---" * len(columns) + "|"
        yield from (
            f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows
        )
        yield ""
    yield from (f"- {line}" for line in said(dict(data)))


def main() -> None:
    """Replace the results in the page."""
    data = read(Path(sys.argv[1]))
    begin, end = f"<!-- {place(data)} -->", f"<!-- end of {place(data)} -->"
    lines = "\n".join(results(data))
    text = PAGE.read_text(encoding="utf-8")
    found = re.sub(
        f"{begin}.*{end}", lambda _: f"{begin}\n\n{lines}\n\n{end}", text, flags=re.DOTALL
    )
    PAGE.write_text(found, encoding="utf-8")


if __name__ == "__main__":
    main()
