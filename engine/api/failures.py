"""What the machine refuses, as errors of ours: each says what, where and what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from genesys_engine.gab.errors import EnvironmentProblem, GenesysError, InputError

# What the machine or its set-up refuses; what an OSError says next to this and below is our bug.
_ENVIRONMENT = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "the quota is used up: make room",
    errno.EIO: "the disk cannot be read or written: check the system's log",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.EACCES: "check the permissions, or choose another folder",
    errno.EPERM: "check the permissions, or choose another folder",
    errno.EMFILE: "raise the limit on open files: ulimit -n",
    errno.ENOMEM: "close other programs, or use fewer run.workers",
}
# Paths that cannot be: whoever gave them can fix it.
_PATHS = {
    errno.ENOTDIR: "a part of this path is a file, not a folder: use another path",
    errno.EISDIR: "this is a folder: give a file",
    errno.ENAMETOOLONG: "this name is too long: use a shorter one",
    errno.ELOOP: "a symbolic link here points to itself: fix it, or use another path",
}


def engine_error(error: BaseException) -> GenesysError | None:
    """Return `error` as one of ours if a person can fix it; None if it is a bug."""
    if isinstance(error, GenesysError):
        return error
    if isinstance(error, MemoryError):
        return EnvironmentProblem("out of memory", hint=_ENVIRONMENT[errno.ENOMEM])
    for name, number in (("SQLITE_FULL", errno.ENOSPC), ("SQLITE_IOERR", errno.EIO)):
        if getattr(error, "sqlite_errorname", "").startswith(name):
            return EnvironmentProblem(str(error), where="run.sqlite", hint=_ENVIRONMENT[number])
    if not isinstance(error, OSError) or error.errno is None:
        return None
    where, what = error.filename and str(error.filename), str(error.strerror)
    if error.errno in _PATHS:
        return InputError(what, where=where, hint=_PATHS[error.errno])
    if error.errno in _ENVIRONMENT:
        return EnvironmentProblem(what, where=where, hint=_ENVIRONMENT[error.errno])
    return None


@contextmanager
def engine_errors() -> Iterator[None]:
    """Raise what the machine refuses as an error of ours."""
    try:
        yield
    except Exception as error:
        ours = engine_error(error)
        if ours is None or ours is error:
            raise
        for note in getattr(error, "__notes__", ()):
            ours.add_note(note)
        raise ours from error
