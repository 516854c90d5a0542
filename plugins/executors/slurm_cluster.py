"""What Slurm is asked: to take a job (through submitit), how its jobs are, and to end them.

A cluster need not keep accounts, and then `sacct`, which submitit asks, knows nothing: how a job is
comes from `squeue`, which every Slurm has, and what is older than its memory from `sacct`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.executors.slurm_node import SUBMITIT, NodeTask
from genesys_engine.plugins.sandbox.starting import MOMENTARY, retried

if TYPE_CHECKING:
    from genesys_engine.plugins.executors.kept_job import KeptJob
    from genesys_engine.plugins.executors.slurm_options import SlurmOptions

COMMAND_S = 60.0  # that a command of Slurm may take
WHERE = "[executor]"

# What a job's environment has of the coordinator's: no key of any service.
PASSED_ON = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH",
    "VIRTUAL_ENV", "XDG_CACHE_HOME", "MODULEPATH", "SLURM_CONF",
)  # fmt: skip

_WAITING = {
    "PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD",
    "SPECIAL_EXIT",
}  # fmt: skip
_HELD = {"REQUEUE_HOLD", "SPECIAL_EXIT"}
_HELD_REASONS = ("launch failed requeued held", "jobholdmaxrequeue")
_RUNNING = {"RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED", "RESIZING"}

# Why a job may wait that will never run as it was asked for.
NEVER = {
    "PartitionTimeLimit": "time",
    "PartitionNodeLimit": "cpus",
    "PartitionConfig": "cpus",
    "PartitionInactive": "partition",
    "PartitionDown": "partition",
    "BadConstraints": "constraint",
    "InvalidAccount": "account",
    "AccountNotAllowed": "account",
    "InvalidQOS": "qos",
    "QOSNotAllowed": "qos",
    "QOSMaxWallDurationPerJobLimit": "time",
    "AssocMaxWallDurationPerJobLimit": "time",
    "QOSMaxCpuPerJobLimit": "cpus",
    "QOSMaxGRESPerJob": "gpus",
    "QOSMaxMemoryPerJob": "memory",
    "AssocMaxCpuPerJobLimit": "cpus",
    "AssocMaxGRESPerJob": "gpus",
    "AssocMaxMemPerJob": "memory",
    "DependencyNeverSatisfied": "extra",
}
"""Reason -> the option that is to be changed."""

# What `sbatch` says when it takes no job -> the option that is to be changed.
_REFUSALS = (
    (r"partition", "partition"),
    (r"account", "account"),
    (r"qos", "qos"),
    (r"time limit|time-limit", "time"),
    (r"memory", "memory"),
    (r"gres|generic resource|gpu", "gpus"),
    (r"feature|constraint", "constraint"),
    (r"cpu count", "cpus"),
)
# What it says when it takes none now.
_LATER = re.compile(
    r"socket timed out|unable to contact|temporarily|submit limit|max ?submit|connection refused|"
    r"zero bytes|try again|slurmdbd",
    re.IGNORECASE,
)
_OWN = ("-h", "-u", str(os.getuid()))
Phase = Literal["waiting", "running", "ended"]


@dataclass(frozen=True)
class JobState:
    """How a job is: the phase, Slurm's own word for it, and why it waits."""

    phase: Phase
    word: str
    reason: str = ""
    node: str = ""

    @property
    def is_held(self) -> bool:
        """Whether Slurm has put it aside after it could not be started: it waits for a person."""
        return self.phase == "waiting" and (
            self.word in _HELD or self.reason.replace("_", " ").lower().startswith(_HELD_REASONS)
        )


GONE = JobState("ended", "unknown to Slurm")


@dataclass(frozen=True)
class Needs:
    """What a job is submitted with; memory as Slurm writes it, None: as the cluster has it."""

    minutes: int
    memory: str | None = None


class Busy(Exception):
    """The cluster takes no job, or answers nothing, for now."""


class Cluster(Protocol):
    """Where jobs are submitted: Slurm, or processes of this machine that stand in for it."""

    lag_s: float
    """Until a file that a job has written is seen here."""

    @property
    def most(self) -> int | None:
        """Jobs at a time; None: as many as are submitted, it has a queue of its own."""

    def submit(self, job: KeptJob, needs: Needs) -> str:
        """Submit a job and return its number.

        Raises:
            EnvironmentProblem: it will never be taken.
            Busy: it may be taken later.
        """

    def find(self, job: KeptJob) -> str:
        """Return the number of a job that was submitted and not noted, "" if there is none."""

    def states(self, numbers: Sequence[str]) -> Mapping[str, JobState]:
        """Return how jobs are.

        Raises:
            Busy: nobody can say.
        """

    def cancel(self, numbers: Iterable[str]) -> None:
        """End jobs, whether they wait or run."""


def demand_submitit() -> None:
    """Raise `EnvironmentProblem` where submitit is not installed."""
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise EnvironmentProblem(
            f"the executor slurm needs submitit: {error}",
            where=f"{WHERE} use",
            hint="pip install 'genesys-engine[slurm]', here and on every node",
        ) from error


class SlurmCluster:
    """Asks Slurm's own commands.

    Raises:
        EnvironmentProblem: this machine has no Slurm, or it does not answer.
    """

    lag_s = 10.0
    most: int | None = None

    def __init__(self, options: SlurmOptions, requeues: int) -> None:
        lacking = [name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None]
        if lacking:
            raise EnvironmentProblem(
                f"no {lacking[0]} on this machine",
                where=f"{WHERE} mode",
                hint="start the run where jobs can be submitted (a login node), or set"
                ' mode = "local" to try it out without Slurm',
            )
        self._options = options
        self._requeues = requeues
        self._demand(options)

    def _demand(self, options: SlurmOptions) -> None:
        """Have Slurm judge a job of these options without submitting it."""
        words = [f"--{name}={value}" for name, value in self._flags().items()]
        try:
            ask_slurm("sbatch", "--test-only", *words, "--time=1", "--wrap=true")
        except Busy:
            pass  # it is asked again when there is a job
        except CommandFailed as error:
            raise refusal(error.said, options) from error

    def _flags(self) -> dict[str, Any]:
        """Return the options that Slurm has by the same names."""
        options = self._options
        named = {
            "partition": options.partition,
            "account": options.account,
            "qos": options.qos,
            "constraint": options.constraint,
            "cpus-per-task": options.cpus,
            "gpus-per-node": options.gpus or None,
            "mem": options.memory,
            **options.extra,
        }
        return {name: value for name, value in named.items() if value is not None}

    def submit(self, job: KeptJob, needs: Needs) -> str:
        """Submit a job with submitit; see `Cluster`."""
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        executor = SlurmExecutor(job.home / SUBMITIT, max_num_timeout=self._requeues)
        executor.update_parameters(
            job_name=job.name,
            time=needs.minutes,
            setup=list(self._options.setup) or None,
            srun_args=["--export=ALL"],  # of the script: what `setup` and submitit have set too
            mem=needs.memory,
            wckey=None,  # submitit's default is one that a cluster with such keys refuses
            additional_parameters={
                **{name: value for name, value in self._flags().items() if name != "mem"},
                "requeue": True,
                "export": ",".join(name for name in PASSED_ON if name in os.environ),
            },
        )
        try:
            return str(executor.submit(NodeTask(str(job.home.absolute()))).job_id)
        except (FailedJobError, FailedSubmissionError) as error:
            said = str(error)
            if _LATER.search(said):
                raise Busy(_last_line(said)) from error
            raise refusal(said, self._options) from error

    def find(self, job: KeptJob) -> str:
        """Return the number of the job with this name; see `Cluster`."""
        try:
            said = ask_slurm("squeue", *_OWN, f"--name={job.name}", "-o", "%i")
        except CommandFailed as error:
            raise Busy(error.said) from error
        return said.split()[-1] if said.split() else ""

    def states(self, numbers: Sequence[str]) -> Mapping[str, JobState]:
        """Ask about all jobs at once; see `Cluster`."""
        try:
            said = ask_slurm("squeue", *_OWN, "-t", "all", "-o", "%i|%T|%r|%N")
        except CommandFailed as error:
            raise Busy(error.said) from error
        rows = [line.split("|") for line in said.splitlines() if line.count("|") == 3]
        known = {number: state_of(*rest) for number, *rest in rows}
        return {number: known.get(number) or self._older(number) for number in numbers}

    def _older(self, number: str) -> JobState:
        """Return how a job is that Slurm has forgotten, from its accounts if it keeps any."""
        try:
            said = ask_slurm("sacct", "-X", "-n", "-P", "-j", number, "-o", "State,NodeList")
            word, node = said.splitlines()[0].split("|")
        except (CommandFailed, Busy, OSError, IndexError, ValueError):
            return GONE
        return state_of(word, "", node)

    def cancel(self, numbers: Iterable[str]) -> None:
        """End jobs at once: one that is asked first would stay for minutes, since submitit takes
        SIGTERM for the sign of a preemption and ignores it."""
        jobs = list(numbers)
        if not jobs:
            return
        for words in (("--signal=KILL", "--full"), ()):
            try:
                ask_slurm("scancel", *words, *jobs)
            except (CommandFailed, Busy):
                continue  # gone already


class CommandFailed(Exception):
    """A command of Slurm refused, and what it said."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


def ask_slurm(*command: str) -> str:
    """Return what a command of Slurm prints.

    Raises:
        CommandFailed: it refused.
        Busy: it did not answer, or this machine can start no process now.
    """
    try:
        done = retried(
            lambda: subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=COMMAND_S,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the engine
            )
        )
    except OSError as error:
        if error.errno not in MOMENTARY:
            raise
        raise Busy(f"{command[0]} could not be started: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise Busy(f"{command[0]} did not answer within {COMMAND_S:g} s") from error
    if done.returncode != 0:
        said = done.stderr.strip() or f"{command[0]} ended with {done.returncode}"
        if _LATER.search(said):
            raise Busy(_last_line(said))
        raise CommandFailed(said)
    return done.stdout


def state_of(word: str, reason: str, node: str) -> JobState:
    """Return how a job is, from the words of `squeue` or `sacct`."""
    word = word.split()[0] if word.split() else "UNKNOWN"  # "CANCELLED by 1000"
    reason = "" if reason == "None" else reason
    if word in _WAITING:
        return JobState("waiting", word, reason, node)
    if word in _RUNNING:
        return JobState("running", word, reason, node)
    return JobState("ended", word, reason, node)


def refusal(said: str, options: SlurmOptions) -> EnvironmentProblem:
    """Return the error for what `sbatch` said, with the option that is to be changed."""
    lines = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in said.splitlines()]
    text = "; ".join(dict.fromkeys(line.strip() for line in lines if line.strip()))
    option = next((name for sign, name in _REFUSALS if re.search(sign, text, re.IGNORECASE)), "")
    return impossible(f"Slurm refuses the job: {text}", option, options)


def impossible(message: str, option: str, options: SlurmOptions) -> EnvironmentProblem:
    """Return the error for a job that the cluster will never run, and what there is instead."""
    value = getattr(options, option, None) if option else None
    asked = f" {option} = {value!r}" if value is not None else f" {option}".rstrip()
    if not option:  # Slurm does not say which
        asked = f" cpus = {options.cpus}, gpus = {options.gpus}, memory = {options.memory!r}"
    return EnvironmentProblem(
        message,
        where=f"{WHERE}{asked}",
        hint=f"change it to what the cluster offers ({offers()})",
    )


def offers() -> str:
    """Return what the cluster offers, a part per partition."""
    try:
        said = ask_slurm("sinfo", "-h", "-o", "%P: time %l, %D nodes of %c CPUs, %m MB, gres %G")
    except (CommandFailed, Busy, OSError):
        return "see `sinfo`"
    return "; ".join(said.strip().splitlines()) or "see `sinfo`"


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else ""
