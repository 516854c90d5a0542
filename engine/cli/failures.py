"""From an exception to a message on stderr and the documented exit code."""

from __future__ import annotations

import errno
import io
import platform
import sys
import tempfile
import traceback

import click

from genesys_engine import __version__
from genesys_engine.engine.cli.output import note
from genesys_engine.engine.common.redact import redact
from genesys_engine.gab.errors import (
    EXIT_BUG,
    EXIT_ENVIRONMENT,
    EXIT_INPUT,
    EXIT_INTERRUPTED,
    GenesysError,
)

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


def report_failure(error: BaseException, *, debug: bool) -> int:
    """Say what happened on stderr and return the exit code; no key is shown."""
    if debug and not isinstance(error, click.ClickException | click.Abort):
        note("".join(traceback.format_exception(error)), nl=False)
    if isinstance(error, click.ClickException):
        shown = io.StringIO()
        error.show(shown)
        note(shown.getvalue(), nl=False)
        return error.exit_code
    if isinstance(error, click.Abort) and error.__cause__ is not None:
        error = error.__cause__  # the KeyboardInterrupt that click took for one of its own
    text, code = _describe(error, debug)
    note("\n  ".join([f"genesys-engine: {text}", *getattr(error, "__notes__", ())]))
    return code


def _describe(error: BaseException, debug: bool) -> tuple[str, int]:
    """Return the message and the exit code."""
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return "interrupted", EXIT_INTERRUPTED
    if isinstance(error, GenesysError):
        return str(error), error.exit_code
    if isinstance(error, OSError) and error.errno in _PATHS:
        return _system(error, _PATHS[error.errno]), EXIT_INPUT
    environment = _environment(error)
    if environment:
        return environment, EXIT_ENVIRONMENT
    return _bug(error, debug), EXIT_BUG


def _environment(error: BaseException) -> str | None:
    """Return the message if the machine is at fault, else None."""
    if isinstance(error, MemoryError):
        return f"out of memory\n  help: {_ENVIRONMENT[errno.ENOMEM]}"
    for name, number in (("SQLITE_FULL", errno.ENOSPC), ("SQLITE_IOERR", errno.EIO)):
        if getattr(error, "sqlite_errorname", "").startswith(name):
            return f"run.sqlite: {error}\n  help: {_ENVIRONMENT[number]}"
    if isinstance(error, OSError) and error.errno in _ENVIRONMENT:
        return _system(error, _ENVIRONMENT[error.errno])
    return None


def _system(error: OSError, hint: str) -> str:
    """Return what the system says, of which file, and what to do."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror}\n  help: {hint}"


def _bug(error: BaseException, debug: bool) -> str:
    what = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    lines = [f"internal error: {what}", "  This is a bug in genesys-engine, not in your input."]
    if not debug:
        lines.append(_keep_traceback(error))
    lines.append("  help: please report it with the traceback; CONTRIBUTING.md says where")
    return "\n".join(lines)


def _keep_traceback(error: BaseException) -> str:
    """Write the traceback to a file and return the line that says where it is."""
    text = redact("".join(traceback.format_exception(error)))
    head = f"genesys-engine {__version__}, Python {platform.python_version()}, {sys.platform}\n"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="genesys-engine-", suffix=".traceback.txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(head + text)
    except OSError:  # no room for it: better on the screen than lost
        return head + text
    return f"  The traceback is in {file.name}"
