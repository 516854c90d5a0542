"""The errors a person may meet, each with the exit code that the command line documents.

An error says what is wrong, where, and how to fix it.  Whatever is not one of these is a
bug of the engine (exit code 3).
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genesys_engine.gab.missing import Missing

EXIT_OK = 0
EXIT_GOAL_NOT_MET = 1
EXIT_INPUT = 2
EXIT_BUG = 3
EXIT_ENVIRONMENT = 4
EXIT_BUDGET = 5
EXIT_INTERRUPTED = 130


def in_a_line(error: BaseException, most: int = 300) -> str:
    """Return `Kind: message` of an error that is not ours, in one line of `most` characters.

    It is cut between words: a part of a key, which the message may repeat, would not be known for
    one where keys are hidden.
    """
    return shortened(f"{type(error).__name__}: {error}", most).removesuffix(":")


def shortened(text: str, most: int) -> str:
    """Return a text on one line of at most `most` characters, cut between words."""
    return textwrap.shorten(
        text, most, placeholder=" ...", break_on_hyphens=False, break_long_words=False
    )


class GenesysError(Exception):
    """Base of every error that is reported without a traceback.

    `where` names a file, a line or a component; `hint` says how to fix it.
    """

    exit_code = EXIT_INPUT

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        """Return `where: message` and the hint on a line of its own."""
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  help: {self.hint}" if self.hint else text


class InputError(GenesysError):
    """Invalid input of the user: a file, an option, a run folder."""


class PluginError(GenesysError):
    """A plugin is missing, broken, or collides with another."""


class UnitError(GenesysError):
    """The source of a unit breaks the unit contract; `code` is stable, like `contract.imports`.

    `missing` is the name that is not defined, with those most like it, where that is the breach.
    """

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        code: str = "contract.syntax",
        missing: Missing | None = None,
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.code = code
        self.missing = missing


class TreeError(GenesysError):
    """A tree breaks an interface or cannot be read."""


class ScaleError(GenesysError):
    """A block cannot be brought to the size of a scale."""


class EnvironmentProblem(GenesysError):
    """The machine cannot do its part: disk full, no CUDA, no fork."""

    exit_code = EXIT_ENVIRONMENT
