"""What isolation this machine gives, for `genesys-engine doctor`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from genesys_engine.plugins.sandbox import landlock
from genesys_engine.plugins.sandbox.environment import PASSED_ON
from genesys_engine.plugins.sandbox.isolation import Isolation


@dataclass(frozen=True)
class Measure:
    """One measure: whether it is active here, and what it does in one sentence."""

    name: str
    active: bool
    detail: str


def sandbox_status(isolation: Isolation) -> tuple[Measure, ...]:
    """Return every measure that a job is run under, and whether this system offers it."""
    linux = sys.platform == "linux"
    children = Path("/proc/thread-self/children").exists()
    memory = Path("/proc/self/statm").exists()
    return (
        Measure("process", hasattr(os, "fork"), "every job in a process of its own, JSON back"),
        Measure("deadline", hasattr(os, "fork"), "SIGKILL to the process group, watched twice"),
        Measure("session", hasattr(os, "setsid"), "own session: Ctrl-C does not reach a job"),
        Measure("environment", True, f"built up from nothing; handed on: {', '.join(PASSED_ON)}"),
        Measure("cpu, file size, open files", True, "resource limits; no core dumps"),
        Measure("memory", memory, "limit on addresses beyond those of the warm template"),
        Measure("parent death", linux, "jobs die with the template, the template with the engine"),
        Measure(
            "survivors",
            hasattr(os, "fork"),
            "what jobs started ends too when engine and template are killed at once",
        ),
        Measure("orphans", linux and children, "descendants that left their group are killed too"),
        Measure("disk", linux, "a job that fills its scratch folder is ended"),
        Measure("landlock", isolation.landlock > 0, _landlock(isolation.landlock)),
        Measure("seccomp", isolation.seccomp, "no sockets, processes, programs, foreign signals"),
        Measure("signals", isolation.seccomp, _signals(isolation.landlock)),
        Measure("namespaces", isolation.namespaces, "no network interface, no rights of root"),
    )


def _signals(abi: int) -> str:
    """Return what keeps the signals of a job inside: from ABI 6 on Landlock does it too."""
    if abi >= landlock.SIGNAL_SCOPE:
        return f"kept inside twice: by the filter, and by Landlock's signal scope (ABI {abi})"
    here = f"ABI {abi} here" if abi else "no Landlock here"
    needed = f"Landlock's signal scope needs ABI {landlock.SIGNAL_SCOPE}, Linux 6.12"
    return f"kept inside by the filter alone ({here}; {needed})"


def _landlock(abi: int) -> str:
    """Return what Landlock holds in this version."""
    version = f" (ABI {abi})" if abi else ""
    return f"reads the installation and the corpus, writes its scratch folder only{version}"
