"""Which accelerators a job sees: every worker has a share of its own.

Without a share each job would take the first device that there is, and all of them the same one.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"


def devices_here() -> tuple[str, ...]:
    """Return the devices that jobs may use: those that CUDA_VISIBLE_DEVICES names, else all."""
    listed = os.environ.get(VISIBLE)
    if listed is None:
        return tuple(map(str, range(len(list(Path("/dev").glob("nvidia[0-9]*"))))))
    names = [name.strip() for name in listed.split(",")]
    ends = [index for index, name in enumerate(names) if name in ("", "-1")]  # as CUDA reads it
    return tuple(names[: ends[0]] if ends else names)


class DeviceShares:
    """The devices, dealt out to the workers: one each, or several where there are more devices.

    Args:
        devices: by the names that CUDA_VISIBLE_DEVICES takes; without any nothing is dealt out.
        workers: jobs that run at the same time.
        jobs_per_device: jobs with an accelerator that may share a device.
    """

    def __init__(self, devices: Sequence[str], workers: int, jobs_per_device: int = 1) -> None:
        shares = min(workers, len(devices))
        self._shares = tuple(",".join(devices[share::shares]) for share in range(shares))
        self._most = jobs_per_device

    def pick(self, running: Iterable[tuple[str, bool]], *, accelerator: bool) -> str | None:
        """Return the share of a job that is about to run; None: it has to wait for one.

        Args:
            running: the shares of the jobs that run, and whether each has an accelerator.
            accelerator: whether the job has one; another job waits for nothing.
        """
        if not self._shares:
            return ""
        jobs = list(running)
        taken = Counter(share for share, has_one in jobs if has_one)
        others = Counter(share for share, _ in jobs)
        share = min(self._shares, key=lambda each: (taken[each], others[each]))
        return None if accelerator and taken[share] >= self._most else share
