"""Whose fault it is that a job has left Slurm without an outcome of its own."""

from __future__ import annotations

from genesys_engine.plugins.api import Outcome
from genesys_engine.plugins.executors.slurm_cluster import JobState

AGAIN = frozenset({"PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "REVOKED"})
"""Ends that say nothing about the job: it is submitted again."""
OUT_OF_MEMORY = "OUT_OF_MEMORY"
OUT_OF_TIME = "timed-out too many times"  # as submitit says it


def verdict(state: JobState, node: str, log: str, out_of_memory: int) -> Outcome:
    """Return the outcome of a job that Slurm has ended.

    It is the machine's fault, but for memory the second time: the first may have been that of a
    neighbour.

    Args:
        log: how the job's own log ends.
        out_of_memory: how often the job has ended for want of memory, with this time.
    """
    where = f" on node {node}" if node else ""
    words = f"Slurm ended the job{where}: {state.word}"
    if state.word == OUT_OF_MEMORY and out_of_memory > 1:
        return Outcome("memory", None, f"{words}, twice")
    if state.word == "TIMEOUT" or OUT_OF_TIME in log:
        words += "; its time is shorter than the job needs: raise [executor] time"
    if log:
        words += f"; its log ends: {log}"
    return Outcome("infrastructure", None, words)
