"""What a Slurm cluster offers, for `genesys-engine doctor --executor slurm`."""

from __future__ import annotations

from collections.abc import Iterator

from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.executors.slurm_cluster import (
    Busy,
    CommandFailed,
    SlurmCluster,
    ask_slurm,
    demand_submitit,
)
from genesys_engine.plugins.executors.slurm_options import SlurmOptions
from genesys_engine.plugins.executors.survey import Offer

_FORMAT = "%P|%a|%l|%F|%c|%m|%G"  # partition, up, longest time, nodes by state, CPUs, MB, GPUs


def survey(options: SlurmOptions) -> Iterator[Offer]:
    """Yield whether submitit and Slurm are here, what each partition has, and whether Slurm would
    take a job of these options; submits nothing."""
    try:
        demand_submitit()
    except EnvironmentProblem as error:
        yield Offer("submitit", False, error.message, error.hint or "")
        return
    if options.mode == "local":
        yield Offer("slurm", True, 'mode = "local": processes of this machine stand in for it')
        return
    try:
        SlurmCluster(options, options.requeues)
        fault = None
    except EnvironmentProblem as error:
        fault = error
    try:
        yield Offer("slurm", True, ask_slurm("sbatch", "--version").strip())
        for line in ask_slurm("sinfo", "-h", "-o", _FORMAT).splitlines():
            yield _partition(*line.split("|"))
    except (CommandFailed, Busy, OSError) as error:
        hint = fault.hint if fault else "see `sinfo`"
        yield Offer("slurm", False, fault.message if fault else str(error), hint or "")
        return
    if fault is None:
        yield Offer("a job of these options", True, "Slurm would take it")
    else:
        yield Offer("a job of these options", False, fault.message, fault.hint or "")


def _partition(
    name: str, up: str, time: str, nodes: str, cpus: str, memory: str, gres: str
) -> Offer:
    """Return what a partition has; `nodes` are allocated/idle/other/total."""
    _, idle, other, total = nodes.split("/")
    gpus = "no GPUs" if gres in ("(null)", "") else gres
    found = f"{total} nodes of {cpus} CPUs, {memory} MB, {gpus}; {idle} idle; time limit {time}"
    usable = up == "up" and other != total
    return Offer(
        f"partition {name}", usable, found, "" if usable else "ask the operators; none is up"
    )
