"""What Python itself prints, shown like messages of ours.

Warnings, exceptions that nobody catches (of a thread, of a destructor, of the program) and records
of libraries that log may quote the source or the words of a candidate, of a language model or of a
plugin.
"""

from __future__ import annotations

import sys
import threading
import warnings
from types import TracebackType
from typing import TextIO


def route_python_output() -> None:
    """Route all of it but records, which `route_records` does once a command is at work."""
    warnings.showwarning = _show_warning
    sys.excepthook = _show_exception
    sys.unraisablehook = _show_unraisable
    threading.excepthook = _show_of_thread


def route_records() -> None:
    """Route the records that no handler takes, as those of concurrent.futures."""
    import logging

    class Noting(logging.Handler):
        """Hands records on as messages."""

        def emit(self, record: logging.LogRecord) -> None:
            try:
                _note(f"{self.format(record)}\n")
            except Exception:  # as every handler does: what is logged ends no command
                self.handleError(record)

    logging.lastResort = Noting(logging.WARNING)


def words_of_exit(left: SystemExit) -> int:
    """Show what an exit says in place of a code, as the interpreter does; return the code."""
    if left.code is None or isinstance(left.code, int):
        return left.code or 0
    _note(f"{left.code}\n")
    return 1


def _note(text: str) -> None:
    from genesys_engine.engine.cli.output import note

    note(text, nl=False)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int,
    file: TextIO | None = None, line: str | None = None,
) -> None:  # fmt: skip
    _note(warnings.formatwarning(message, category, filename, lineno, line))


def _show_exception(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    import traceback

    _note("".join(traceback.format_exception(kind, error, trace)))


def _show_of_thread(about: threading.ExceptHookArgs) -> None:
    if about.exc_type is SystemExit:  # it ends the thread, and says nothing
        return
    _note(f"Exception in thread {about.thread.name if about.thread else 'unknown'}:\n")
    _show_exception(about.exc_type, about.exc_value, about.exc_traceback)


def _show_unraisable(about: sys.UnraisableHookArgs) -> None:
    kind = type(about.object).__name__  # no `repr`: it may be the candidate's
    _note(f"{about.err_msg or 'Exception ignored in'}: {kind}\n")
    _show_exception(about.exc_type, about.exc_value, about.exc_traceback)
