"""Ctrl-C, or a closed terminal, before there is a run: nothing was begun, and nothing is left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from engine_process import ended, here, started, wait_for, write_experiment, write_text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_a_run_that_is_stopped_while_preparing_says_that_nothing_was_begun(
    tmp_path: Path, monkeypatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    text = write_text(tmp_path)
    text.write_text(15 * text.read_text())  # so that preparing takes its time
    file = write_experiment(tmp_path)
    with started("run", file, "--out", tmp_path / "run") as process:
        wait_for(lambda: "preparing the corpus" in process.answer().err, process)
        os.killpg(process.pid, number)  # as a terminal does: all that it has started
        answer = ended(process)
    assert answer.code == 130
    assert "nothing to resume" in answer.err
    assert "resume" not in answer.err.replace("nothing to resume", "")
    assert not (tmp_path / "run").exists()
    assert "no run here" in here("resume", tmp_path / "run").err
