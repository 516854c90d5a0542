"""`export --format onnx`: what it demands before anything is traced (tests/plugins/test_onnx_job.py
traces).
"""

from pathlib import Path

import pytest
from engine_process import here
from sample_run import make_run

from genesys_engine.engine.export import onnx


def test_a_missing_extra_a_used_folder_and_a_misspelt_format_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, target = make_run(tmp_path / "run"), tmp_path / "graph"
    assert "did you mean 'onnx'" in here("export", run, 0, target, "--format", "onx").err
    here("export", run, 0, tmp_path, "--format", "onnx").refused(2, "not empty")
    here("export", run, 0, target, "--format", "onnx").refused(2, "no trained weights")
    monkeypatch.setattr(onnx, "PACKAGES", ("json", "no_such_package"))
    missing = here("export", run, 0, target, "--format", "onnx")
    missing.refused(4, "no_such_package", "genesys-engine[onnx]")
    assert not target.exists()


def test_a_reason_names_the_line_with_its_text() -> None:
    refused = {"reason": "E: no", "line": 2, "operator": "aten.x"}
    assert onnx._words(refused, "a\n  b = c\n") == "E: no, operator aten.x (line 2: b = c)"
    assert onnx._words({**refused, "line": 9, "operator": ""}, "a") == "E: no"
