"""What an executor promises."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from os.path import relpath
from pathlib import Path
from typing import Any

from genesys_engine.plugins.api import Limits
from genesys_engine.plugins.testing.contract import Contract

JOBS = "genesys_engine.plugins.testing.jobs"
PATIENCE_S = 60.0  # a start may import torch


class ExecutorContract(Contract):
    """Runs jobs, ends them at their deadline, tells what they did, leaves nothing behind."""

    kind = "executor"

    @contextmanager
    def executor(self, workers: int = 2) -> Iterator[Any]:
        """Make an executor and close it."""
        made = self.create(workers=workers)
        try:
            yield made
        finally:
            made.close()

    def test_jobs_are_run_and_answered(self, tmp_path: Path) -> None:
        """Each gets its payload and its folder (also given as a relative path); more jobs than
        workers are no matter."""
        with self.executor() as executor:
            assert executor.workers == 2
            folders = [tmp_path / str(number) for number in range(5)]
            for folder in folders:
                folder.mkdir()
            futures = [
                executor.submit(f"{JOBS}:echo", {"n": n}, Path(relpath(folder)), Limits(30.0))
                for n, folder in enumerate(folders)
            ]
            for number, future in enumerate(futures):
                outcome = future.result(PATIENCE_S)
                assert (outcome.status, outcome.value) == ("ok", {"given": {"n": number}})
        assert all((folder / "left.txt").read_text() == "left" for folder in folders)

    def test_a_job_that_raises_is_reported(self, tmp_path: Path) -> None:
        """`submit` never raises for what the job does; the next job is not harmed."""
        with self.executor() as executor:
            bad = executor.submit(f"{JOBS}:fail", {"text": "too bad"}, tmp_path, Limits(30.0))
            outcome = bad.result(PATIENCE_S)
            assert outcome.status == "error"
            assert "too bad" in outcome.reason
            good = executor.submit(f"{JOBS}:echo", {}, tmp_path, Limits(30.0))
            assert good.result(PATIENCE_S).status == "ok"

    def test_a_job_has_the_subject_that_it_asks_for(self, tmp_path: Path) -> None:
        """Candidate code runs in a process of its own, apart from the one that judges it."""
        limits = Limits(30.0, subject=f"{JOBS}:operations")
        with self.executor() as executor:
            outcome = executor.submit(f"{JOBS}:ask", {"number": 21}, tmp_path, limits)
            value = outcome.result(PATIENCE_S).value
            assert value["double"] == 42
            if hasattr(executor, "isolation"):  # else all of it may be in one process
                assert value["judge"] != value["subject"]

    def test_a_deadline_is_kept(self, tmp_path: Path) -> None:
        """A job that does not end is ended, and is reported as a timeout."""
        with self.executor() as executor:
            warm = executor.submit(f"{JOBS}:echo", {}, tmp_path, Limits(30.0))
            warm.result(PATIENCE_S)
            started = time.monotonic()
            slow = executor.submit(f"{JOBS}:sleep", {"seconds": 600}, tmp_path, Limits(1.0))
            assert slow.result(PATIENCE_S).status == "timeout"
            assert time.monotonic() - started < 30

    def test_closing_ends_what_runs(self, tmp_path: Path) -> None:
        """No future is left open; closing twice is no matter."""
        with self.executor() as executor:
            futures = [
                executor.submit(f"{JOBS}:sleep", {"seconds": 600}, tmp_path, Limits(900.0))
                for _ in range(3)
            ]
            started = time.monotonic()
            executor.close()
            executor.close()
            for future in futures:
                try:
                    assert future.result(30).status != "ok"
                except CancelledError:
                    continue
            assert time.monotonic() - started < 60
