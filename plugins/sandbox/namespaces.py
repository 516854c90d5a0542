"""Namespaces of our own: no network interface, no shared memory of others, no rights outside.

The template enters them once, before it imports anything, and every job inherits them: a network
namespace per job would cost about 10 ms each.  (A process namespace per job would cost a second
fork; jobs cannot start processes where there is a filter on system calls, so it would add
nothing there.)
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from genesys_engine.plugins.sandbox import linux
from genesys_engine.plugins.sandbox.starting import retried

_NEWUTS, _NEWIPC, _NEWUSER, _NEWNET = 0x04000000, 0x08000000, 0x10000000, 0x40000000

_PROBE = """
import sys
sys.path.insert(0, sys.argv[1])
from genesys_engine.plugins.sandbox.namespaces import enter
sys.exit(0 if enter() else 1)
"""


def enter() -> bool:
    """Enter new user, network, IPC and host-name namespaces; False where that is not allowed.

    The process must have one thread.  It keeps its own user and group under the same numbers.
    """
    user, group = os.geteuid(), os.getegid()
    if not linux.unshare(_NEWUSER | _NEWNET | _NEWIPC | _NEWUTS):
        return False
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    except OSError:
        return True  # the namespaces hold; only the names of user and group are lost
    return True


def available(root: str) -> bool:
    """Tell whether a fresh process can enter them; `root` is where this package is imported from.

    Takes some 0.1 s: the only way to know is to try, and not in the process that asks.
    """
    if sys.platform != "linux":
        return False
    command = [sys.executable, "-s", "-P", "-B", "-c", _PROBE, root]
    try:
        done = retried(
            lambda: subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30
            )
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
