"""The options of the executor `slurm`: what is asked of Slurm for every job, and where jobs go."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from genesys_engine.plugins.executors.options import SandboxOptions
from genesys_engine.plugins.kinds import PATH

_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<rest>\d+(?::\d+){0,2})")
_MEMORY = re.compile(r"\d+[KMGT]?")


def minutes_of(time: str) -> int:
    """Return a time as Slurm writes it (90, 90:00, 1:30:00, 0-1:30 ...) in whole minutes.

    Raises:
        ValueError: it is of another form, or no time at all.
    """
    match = _TIME.fullmatch(time)
    if match is None:
        raise ValueError('write a time as Slurm does: "90" (minutes), "1:30:00" or "2-00:00:00"')
    parts = [int(part) for part in match["rest"].split(":")]
    if match["days"] is not None:  # days-hours, days-hours:minutes, days-hours:minutes:seconds
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        total = (int(match["days"]) * 24 + hours) * 3600 + minutes * 60 + seconds
    elif len(parts) == 3:
        total = parts[0] * 3600 + parts[1] * 60 + parts[2]
    else:  # minutes, minutes:seconds
        total = parts[0] * 60 + (parts[1] if len(parts) == 2 else 0)
    if total <= 0:
        raise ValueError("a job needs time")
    return -(-total // 60)


def _time(text: str) -> str:
    minutes_of(text)
    return text


def _memory(text: str) -> str:
    if _MEMORY.fullmatch(text) is None:
        raise ValueError('write memory as Slurm does: "16G" or "16000M"')
    return text


class SlurmOptions(SandboxOptions):
    """What every job asks of Slurm; what is left out stays as the cluster has it."""

    mode: Literal["slurm", "local"] = Field(
        default="slurm",
        description="local: processes of this machine in the place of Slurm, to try it out",
    )
    partition: str | None = Field(default=None, description="partition of the jobs")
    account: str | None = Field(default=None, description="account that the jobs are charged to")
    qos: str | None = Field(default=None, description="quality of service of the jobs")
    constraint: str | None = Field(default=None, description="features that a node must have")
    gpus: int = Field(default=0, ge=0, description="GPUs of a job, all on one node")
    cpus: int = Field(default=1, ge=1, description="CPUs of a job")
    memory: Annotated[str, AfterValidator(_memory)] | None = Field(
        default=None,
        description='memory of a job as Slurm writes it, such as "16G"; left out: [executor]'
        " memory_gib for each process of a job, and 2 GiB for what starts them",
    )
    time: Annotated[str, AfterValidator(_time)] | None = Field(
        default=None,
        description='time of a job as Slurm writes it, such as "4:00:00"; a training that needs'
        " more is requeued and continues; left out: [executor] timeout_s and the time of a start",
    )
    setup: tuple[str, ...] = Field(
        default=(), description="lines of shell that a job begins with, such as `module load cuda`"
    )
    extra: Mapping[str, str] = Field(
        default={},
        description='further options of sbatch without their dashes, such as {exclude = "node7"}',
    )
    folder: str | None = Field(
        default=None,
        description="folder that all nodes share, for jobs under way; left out: in the folder of"
        " the run",
        json_schema_extra=PATH,
    )
    checks: Literal["here", "slurm"] = Field(
        default="here",
        description="where checks of designs run, which take seconds: on this machine, or as jobs",
    )
    stop: Literal["cancel", "leave"] = Field(
        default="cancel",
        description="what becomes of running jobs when the run is stopped: cancelled, or left"
        " running for `resume` to collect",
    )
    requeues: int = Field(
        default=20,
        ge=0,
        description="how often a job is begun again after a preemption, a lost node or the end of"
        " its time, from its training checkpoint",
    )
    poll_s: float = Field(
        default=5.0, gt=0, description="seconds between two looks at how the jobs are"
    )
