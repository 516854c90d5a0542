"""One worker per accelerator: what each process sees, in real processes on any machine."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from genesys_engine.plugins.sandbox import Limits, SandboxHost
from genesys_engine.plugins.sandbox.devices import VISIBLE, DeviceShares, devices_here

JOB = "sandbox_jobs:sees_devices"


def seen(
    tmp_path: Path, jobs: int, *, accelerator: bool = True, **host: Any
) -> list[dict[str, Any]]:
    """Run jobs side by side and return what each saw."""
    sandbox = SandboxHost(preload=(), **host)
    try:
        limits = Limits(wall_s=60, accelerator=accelerator)
        futures = [
            sandbox.submit(JOB, {}, tmp_path / str(number), limits) for number in range(jobs)
        ]
        outcomes = [future.result(120) for future in futures]
    finally:
        sandbox.close()
    assert [outcome.status for outcome in outcomes] == ["ok"] * jobs, outcomes
    return [dict(outcome.value or {}) for outcome in outcomes]


def overlap(jobs: list[dict[str, Any]]) -> bool:
    """Tell whether any two of these jobs ran at the same time."""
    ordered = sorted(jobs, key=lambda job: job["began"])
    return any(a["ended"] > b["began"] for a, b in itertools.pairwise(ordered))


def test_every_worker_has_a_device_of_its_own(tmp_path: Path) -> None:
    found = seen(tmp_path, 6, workers=3, devices=("0", "1", "2"))
    assert {job["seen"] for job in found} == {"0", "1", "2"}
    for device in "012":
        assert not overlap([job for job in found if job["seen"] == device])


def test_the_engine_s_own_environment_says_which_devices_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VISIBLE, "GPU-b0,3")
    found = seen(tmp_path, 4, workers=2)
    assert {job["seen"] for job in found} == {"GPU-b0", "3"}


def test_more_devices_than_workers_are_dealt_out(tmp_path: Path) -> None:
    found = seen(tmp_path, 2, workers=2, devices=("0", "1", "2", "3", "4"))
    assert {job["seen"] for job in found} == {"0,2,4", "1,3"}


def test_with_more_workers_than_devices_a_device_has_one_job_at_a_time(tmp_path: Path) -> None:
    found = seen(tmp_path, 4, workers=4, devices=("5",))
    assert [job["seen"] for job in found] == ["5"] * 4
    assert not overlap(found)
    shared = seen(tmp_path / "shared", 4, workers=4, devices=("5",), jobs_per_device=4)
    assert overlap(shared)


def test_jobs_without_an_accelerator_wait_for_none(tmp_path: Path) -> None:
    found = seen(tmp_path, 4, workers=4, devices=("5",), accelerator=False)
    assert overlap(found)


def test_without_devices_nothing_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)
    assert [job["seen"] for job in seen(tmp_path, 1, workers=1, devices=())] == [None]


@pytest.mark.parametrize(
    ("listed", "devices"),
    [("0,1", ("0", "1")), (" 2 , 0", ("2", "0")), ("", ()), ("0,-1,1", ("0",)), ("-1", ())],
)
def test_the_list_is_read_as_cuda_reads_it(
    monkeypatch: pytest.MonkeyPatch, listed: str, devices: tuple[str, ...]
) -> None:
    monkeypatch.setenv(VISIBLE, listed)
    assert devices_here() == devices


def test_a_job_without_an_accelerator_takes_the_share_that_is_used_least() -> None:
    shares = DeviceShares(("0", "1"), workers=4)
    assert shares.pick([("0", True)], accelerator=False) == "1"
    assert shares.pick([("0", True), ("1", True)], accelerator=True) is None
