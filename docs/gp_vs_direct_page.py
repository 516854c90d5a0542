"""Writes the results into docs/gp-vs-direct.md: python docs/gp_vs_direct_page.py STUDY.

STUDY is the folder of a study of `experiments/gp_vs_direct.toml` or `gp_vs_direct_live.toml`.
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
BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def results(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a study's results."""
    met = max(arm["n"] for arm in data["arms"])
    if not data["complete"]:
        yield f"**Partial results:** {met} of {data['proposals']} proposals are met so far. What"
        yield "the intervals leave open is open."
        yield ""
    for title, columns, rows in tables(data):
        yield from [f"{title.removeprefix('PARTIAL: not all proposals are met. ')}:", ""]
        yield f"| {' | '.join(columns)} |"
        yield "|---" * len(columns) + "|"
        yield from (
            f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows
        )
        yield ""
    yield from (f"- {line}" for line in said(dict(data)))


def main() -> None:
    """Replace the results in the page."""
    lines = "\n".join(results(read(Path(sys.argv[1]))))
    text = PAGE.read_text(encoding="utf-8")
    found = re.sub(
        f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n\n{lines}\n\n{END}", text, flags=re.DOTALL
    )
    PAGE.write_text(found, encoding="utf-8")


if __name__ == "__main__":
    main()
