"""The prompt templates: finding them, checking them before the first request, filling them.

A template is a Jinja2 file `NAME.j2` that starts with a comment on its reader and its fields.
Using an unknown field is an error at the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, TemplateSyntaxError, meta, nodes

from genesys_engine.gab.errors import InputError
from genesys_engine.operators.llm.options import ImplementerOptions

_FOLDER = Path(__file__).parent / "prompts"

_UNIT = "path unit interface meaning doc source slots change plan"
FIELDS: Mapping[str, frozenset[str]] = {
    name: frozenset(fields.split())
    for name, fields in {
        "system": "role",
        "proposer": "parent donor places gifts must idea most passages tried feedback",
        "reviewer": "proposal taken parent passages tried",
        "sketcher": "designs passages tried",
        "planner": "title motivation path unit interface meaning source change feedback",
        "coder": f"{_UNIT} idioms relatives feedback former may_declare edits",
        "observer": "path unit interface before after change measured",
        "block_planner": "title motivation units changes",
        "block_coder": "title motivation units changes plan idioms feedback",
        "block_observer": "title units changes measured",
        "mend": "fault",
    }.items()
}
"""The templates there are, each with the fields that it gets."""


class Templates:
    """All templates of an operator, the user's before the built-in ones."""

    def __init__(self, options: ImplementerOptions) -> None:
        """Read and check every template.

        Raises:
            InputError: a file is missing or is not a template, uses an unknown field, or includes
                another template.
        """
        self._environment = Environment(
            undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
        )
        places = _places(options)
        self._templates = {name: self._read(name, path) for name, path in places.items()}

    def render(self, name: str, fields: Mapping[str, Any]) -> str:
        """Return the template `name` filled with `fields`."""
        text: str = self._templates[name].render(**fields)
        return text.strip() + "\n"

    def _read(self, name: str, path: Path) -> Any:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            hint = "name a text file that can be read, or leave the template out"
            raise InputError(f"cannot read the template {name!r}: {error}", hint=hint) from None
        try:
            parsed = self._environment.parse(text)
            _refuse_others(parsed, path)
            used = meta.find_undeclared_variables(parsed)
            template = self._environment.from_string(text)
        except TemplateSyntaxError as error:
            hint = "fix the Jinja2 syntax"
            where = f"{path}:{error.lineno}"
            raise InputError(str(error.message), where=where, hint=hint) from None
        unknown = sorted(used - FIELDS[name])
        if unknown:
            message = f"the template names {', '.join(unknown)}, which it does not get"
            hint = f"fields of {name!r}: {', '.join(sorted(FIELDS[name]))}"
            raise InputError(message, where=str(path), hint=hint)
        return template


def _refuse_others(parsed: nodes.Template, path: Path) -> None:
    """Raise `InputError` if a template includes another one: each must stand alone."""
    for node in parsed.find_all((nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)):
        raise InputError(
            "a template cannot include, extend or import another one",
            where=f"{path}:{node.lineno}",
            hint="write its text into this file",
        )


def _places(options: ImplementerOptions) -> dict[str, Path]:
    """Return the file of every template."""
    unknown = sorted(set(options.templates) - set(FIELDS))
    folder = Path(options.prompts) if options.prompts else None
    if folder is not None:
        if not folder.is_dir():
            hint = "name an existing folder"
            raise InputError("there is no such folder of prompts", where=str(folder), hint=hint)
        unknown += sorted({path.stem for path in folder.glob("*.j2")} - set(FIELDS))
    if unknown:
        hint = f"templates: {', '.join(FIELDS)}"
        raise InputError(f"there is no prompt {unknown[0]!r} to replace", hint=hint)
    places = {name: _FOLDER / f"{name}.j2" for name in FIELDS}
    if folder is not None:
        places |= {path.stem: path for path in sorted(folder.glob("*.j2"))}
    return places | {name: Path(path) for name, path in options.templates.items()}
