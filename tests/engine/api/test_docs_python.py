"""docs/python.md: its code runs from top to bottom, and it lists every name and every column."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import genesys_engine as ge
from genesys_engine.engine.api import frames

PAGE = (Path(__file__).parents[3] / "docs" / "python.md").read_text(encoding="utf-8")
FRAMES = {
    "Run.designs": frames.DESIGNS,
    "Run.leaderboard(limit=None)": frames.LEADERBOARD,
    "Run.verifications(design=None)": frames.VERIFICATIONS,
    "Run.curves(design=None)": frames.CURVES,
    "Run.events()": frames.EVENTS,
    "Run.llm_calls()": frames.LLM_CALLS,
    "Study.comparisons": frames.COMPARISONS,
}


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_its_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = list(re.finditer(r"^```python\n(.*?)^```", PAGE, re.M | re.S))
    assert len(blocks) > 6
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks:
        line = PAGE.count("\n", 0, block.start(1))
        exec(compile("\n" * line + block[1], "docs/python.md", "exec"), names)


@pytest.mark.parametrize("name", FRAMES)
def test_it_lists_every_column(name: str) -> None:
    part = PAGE.partition(f"**`{name}`**")[2]
    table = re.match(r".*?\n\n((?:\|.*\n)+)", part)
    assert table, name
    rows = [line.strip("|").split("|") for line in table[1].splitlines()[2:]]
    listed = [tuple(cell.strip() for cell in row) for row in rows]
    columns = [(f"`{c.name}`", c.dtype, c.unit, c.meaning) for c in FRAMES[name]]
    assert listed == columns


@pytest.mark.parametrize("name", ge.__all__)
def test_it_has_every_name(name: str) -> None:
    assert f"`ge.{name}" in PAGE


@pytest.mark.parametrize("kind", [ge.Experiment, ge.Run, ge.Design, ge.Study])
def test_it_has_every_member(kind: type) -> None:
    public = [name for name in vars(kind) if not name.startswith("_")]
    missing = [name for name in public if not re.search(rf"[.`]{name}\b", PAGE)]
    assert missing == []
