"""From an exception to a message on stderr and the documented exit code."""

from __future__ import annotations

import io
import platform
import sys
import tempfile
import traceback

import click

from genesys_engine import __version__
from genesys_engine.engine.api.failures import engine_error
from genesys_engine.engine.cli.output import note
from genesys_engine.engine.common.redact import redact
from genesys_engine.gab.errors import EXIT_BUG, EXIT_INTERRUPTED


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
    if (ours := engine_error(error)) is not None:
        return str(ours), ours.exit_code
    return _bug(error, debug), EXIT_BUG


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
