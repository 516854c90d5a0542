"""docs/tutorial.ipynb, executed from top to bottom in a real kernel, with smaller numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[3] / "docs" / "tutorial.ipynb"
SMALL = "tokens = 4096\nchildren = 1\nnoise_seeds = 1\nmax_bytes = 300_000\n"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Any:
    found = nbformat.read(NOTEBOOK, as_version=4)
    (numbers,) = (cell for cell in found.cells if "parameters" in cell.metadata.get("tags", ()))
    numbers.source = SMALL
    folder = tmp_path_factory.mktemp("notebook")
    NotebookClient(found, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    assert (folder / "runs" / "tutorial" / "run.sqlite").is_file()
    return found


def output(cell: Any, kind: str) -> str:
    """Return what a cell shows in one form, and that it shows nothing else but text of it."""
    return "".join(each.data[kind] for each in cell.outputs if kind in each.get("data", {}))


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tutorial_runs(done: Any) -> None:
    by_source = {cell.source: cell for cell in done.cells if cell.cell_type == "code"}
    (run,) = (cell for cell in by_source.values() if "run" in cell.metadata.get("tags", ()))
    assert [each.output_type for each in run.outputs] == ["execute_result"]  # nothing printed
    assert "finished" in output(run, "text/html")
    streams = {
        source: "".join(each.text for each in cell.outputs if each.output_type == "stream")
        for source, cell in by_source.items()
    }
    (mistakes,) = (text for source, text in streams.items() if "ConfigError" in source)
    assert "did you mean 'seed'?" in mistakes
    (surprise,) = (text for text in streams.values() if "bits per byte; knowing nothing" in text)
    bits, nothing = (float(word) for word in surprise.split() if word[0].isdigit())
    assert 0 < bits < nothing
    (leaking,) = (cell for source, cell in by_source.items() if "leaking = " in source)
    assert "causality.leak" in output(leaking, "text/html")
    (causal,) = (text for source, text in streams.items() if "causal = " in source)
    assert causal.startswith("PastMean: passed")
    (drawn,) = (cell for source, cell in by_source.items() if "px.line" in source)
    assert any("application/vnd.plotly.v1+json" in each.data for each in drawn.outputs)


def test_no_output_is_kept_in_it() -> None:
    found = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(found)
    code = [cell for cell in found.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
