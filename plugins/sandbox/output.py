"""The output of one job: kept bounded, however much it prints."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from genesys_engine.plugins.sandbox.protocol import LOG_HEAD_BYTES, LOG_NAME, LOG_TAIL_BYTES
from genesys_engine.plugins.sandbox.scratch import remove

_CHUNK = 64 << 10
_DRAIN_CHUNKS = 64  # a descendant may continue writing for ever


class OutputPipe:
    """A pipe that a job writes its stdout and stderr to, read by the template.

    The first 256 KiB go to `output.log` in the scratch folder; of the rest the last 16 KiB are
    kept for the reason of a failure.  The file is opened before the job starts, so a link that
    the job lays there later leads nowhere.
    """

    def __init__(self, scratch: Path) -> None:
        path = scratch / LOG_NAME
        remove(path)  # an earlier attempt may have laid anything there, a folder too
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        self._file = os.open(path, flags, 0o600)
        self.read_fd, self.write_fd = os.pipe()
        os.set_blocking(self.read_fd, False)
        self._room = LOG_HEAD_BYTES
        self._tail = b""

    def read(self) -> int | None:
        """Read what is there: the number of bytes, 0 at the end, None when there is nothing."""
        try:
            data = os.read(self.read_fd, _CHUNK)
        except BlockingIOError:
            return None
        self._tail = (self._tail + data)[-LOG_TAIL_BYTES:]
        if data and self._room > 0:
            try:
                self._room -= os.write(self._file, data[: self._room])
            except OSError:  # a full disk costs the log, not the job
                self._room = 0
        return len(data)

    def finish(self) -> str:
        """Read the rest, close the pipe's end and the file, and return the tail."""
        for _ in range(_DRAIN_CHUNKS):
            if not self.read():
                break
        for fd in (self.read_fd, self._file):
            with contextlib.suppress(OSError):
                os.close(fd)
        return self._tail.decode(errors="replace")
