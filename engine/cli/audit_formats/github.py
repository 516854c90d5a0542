"""Findings as commands of GitHub's workflows, which show them at their lines in a pull request.

Source: "Workflow commands for GitHub Actions", section "Setting an error message".  A line of the
log that begins with `::` steers the job, so nothing of a candidate starts a line here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from genesys_engine.engine.cli.audit_formats.audited import (
    Audited,
    Unreadable,
    message,
    region,
    relative,
)
from genesys_engine.gab.checks.report import Finding

_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_DATA, ":": "%3A", ",": "%2C"}


def github(audited: Sequence[Audited], unreadable: Sequence[Unreadable] = ()) -> str:
    """Return a command for each finding, and for each file that could not be read."""
    lines = [line for each in audited for line in _findings(each)]
    lines += [
        _command("error", {"file": relative(bad.path), "title": "not checked"}, bad.reason)
        for bad in unreadable
    ]
    return "".join(f"{line}\n" for line in lines)


def _findings(audited: Audited) -> Iterator[str]:
    target = audited.target
    for found in audited.findings:
        at = _place(audited, found)
        said = message(target, found)
        if "file" not in at:
            said = f"{target.name}: {said}"
        yield _command(found.severity, {**at, "title": found.code}, said)


def _place(audited: Audited, found: Finding) -> dict[str, str | int | None]:
    target = audited.target
    file = None if target.kind == "design" else relative(target.name)
    if file is None:
        return {}
    if target.kind == "tree":
        return {"file": file}
    at = region(target, found)
    where = {"line": at.line, "endLine": at.line, "col": at.column, "endColumn": at.end}
    return {"file": file, **where}


def _command(name: str, properties: dict[str, str | int | None], data: str) -> str:
    given = {key: value for key, value in properties.items() if value is not None}
    said = ",".join(f"{key}={_escaped(str(value), _PROPERTY)}" for key, value in given.items())
    return f"::{name} {said}::{_escaped(data, _DATA)}"


def _escaped(text: str, table: dict[str, str]) -> str:
    return "".join(table.get(character, character) for character in text)
