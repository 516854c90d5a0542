"""What all formats show: a target with its result, and where a finding stands in its file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from genesys_engine.engine.check.audit import AuditResult, Target
from genesys_engine.gab.checks.report import Finding
from genesys_engine.gab.checks.trace import in_lines

_LINE_END = re.compile(r"\r\n|\r|\n")  # as Python counts lines: others may stand in a text


@dataclass(frozen=True)
class Audited:
    """A target that was audited."""

    target: Target
    result: AuditResult

    @property
    def findings(self) -> Iterator[Finding]:
        """All findings, those that hold on this machine alone last."""
        yield from self.result.report.findings
        yield from self.result.machine_findings


@dataclass(frozen=True)
class Unreadable:
    """What could not be audited: `path` as it was given, and why."""

    path: str
    reason: str


class Region(NamedTuple):
    """A line of a file and the columns of its text, from 1; `end` is the one behind the last."""

    line: int
    column: int
    end: int


def region(target: Target, found: Finding) -> Region:
    """Return where a finding stands in the file: at its line, at its unit's class, or at line 1.

    Whatever the file holds, the region lies in it.
    """
    if target.kind != "source":
        return Region(1, 1, 1)
    lines = _LINE_END.split(target.source)
    number = found.line or _class_line(lines, found.unit)
    number = number if 0 < number <= len(lines) else 1
    text = lines[number - 1]
    indent = len(text) - len(text.lstrip())
    return Region(number, indent + 1, max(len(text.rstrip()), indent) + 1)


def message(target: Target, found: Finding) -> str:
    """Return the whole finding in words: what is wrong, the evidence, the trace, and the fix."""
    place = f" (line {found.line} of the composed module)" if found.line else ""
    place = "" if target.kind == "source" else place
    evidence = ", ".join(f"{key}={_number(value)}" for key, value in found.evidence.items())
    traced = "\n".join(in_lines(found.trace)) if found.trace else ""
    parts = (f"{found.message}{place}", evidence, traced, f"Fix: {found.advice}")
    return "\n".join(part for part in parts if part)


def root() -> Path:
    """Return what paths are relative to: the checkout of a GitHub job, else the working folder."""
    here = Path.cwd()
    workspace = os.environ.get("GITHUB_WORKSPACE", "")
    return Path(workspace) if workspace and here.is_relative_to(workspace) else here


def relative(path: str) -> str | None:
    """Return a path relative to `root`, with slashes; None where it lies outside of it."""
    full = Path(os.path.abspath(path))  # links stay as they were given  # noqa: PTH100
    return full.relative_to(root()).as_posix() if full.is_relative_to(root()) else None


def uri(path: str) -> str:
    """Return a path as a URI, relative to `root` where it lies in it."""
    inside = relative(path)
    if inside is None:
        return Path(os.path.abspath(path)).as_uri()  # noqa: PTH100
    name = quote(os.fsencode(inside))
    return f"./{name}" if ":" in inside.partition("/")[0] else name  # "a:b" would be a scheme


def _class_line(lines: list[str], unit: str | None) -> int:
    starts = re.compile(rf"\s*class\s+{re.escape(unit)}\b") if unit else None
    found = (number for number, line in enumerate(lines, 1) if starts and starts.match(line))
    return next(found, 1)


def _number(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
