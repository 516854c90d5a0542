"""The keeper: a small process that kills the jobs of a template that died without doing so.

The kernel ends a job with its template (`linux.die_with_parent`), but not what the job itself has
started.  Where engine and template are killed in one instant nobody of theirs is left to do it;
the keeper then finds its pipe closed, kills every group that is on its list, and ends.
"""

from __future__ import annotations

import os
import resource
import signal
from contextlib import suppress
from dataclasses import dataclass

from genesys_engine.plugins.sandbox.starting import retried

_CHUNK = 4096
_DEAF_TO = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class Keeper:
    """The writing end of the keeper's pipe; only the template keeps it open.

    A message is far shorter than what the kernel writes in one piece, so that a template and its
    jobs may write at the same time.
    """

    pipe: int

    @classmethod
    def start(cls) -> Keeper:
        """Start the keeper; call it in a process of one thread, before anything is imported.

        It is no child of this process, which looks after its children as after jobs.
        """
        read_fd, write_fd = os.pipe()
        between = retried(os.fork)
        if between == 0:
            try:
                if retried(os.fork) == 0:
                    _keep(read_fd)
            finally:
                os._exit(0)
        os.waitpid(between, 0)
        os.close(read_fd)
        return cls(write_fd)

    def watch(self, group: int) -> None:
        """Put a process group on the list; the group does so itself before it does anything else.

        Raises:
            OSError: the keeper is gone.
        """
        os.write(self.pipe, b"+%d\n" % group)

    def release(self, group: int) -> None:
        """Take a group from the list, if it is there; its number may go to another from now on.

        Raises:
            OSError: the keeper is gone.
        """
        os.write(self.pipe, b"-%d\n" % group)


def _keep(read_fd: int) -> None:
    """Keep the list until the pipe is closed; then kill the groups on it."""
    for number in _DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    _close_all_but(read_fd)
    os.chdir("/")
    groups: set[int] = set()
    rest = b""
    while data := os.read(read_fd, _CHUNK):
        *messages, rest = (rest + data).split(b"\n")
        for message in messages:
            (groups.add if message[:1] == b"+" else groups.discard)(int(message[1:]))
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def _close_all_but(fd: int) -> None:
    """Close every other file: the engine's channel, above all, by which it learns of our end."""
    os.closerange(0, fd)
    os.closerange(fd + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
