"""Writes the files of a new plugin package from the templates next to this module."""

from __future__ import annotations

import keyword
import re
import symtable
from collections.abc import Mapping
from pathlib import Path

from genesys_engine import __version__
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.registry import KINDS, suggest

HERE = Path(__file__).parent

FILES: Mapping[str, str] = {
    "pyproject.toml": "common/pyproject.toml.j2",
    "README.md": "common/README.md.j2",
    "conftest.py": "common/conftest.py.j2",
    ".gitignore": "common/gitignore.j2",
    ".github/workflows/test.yml": "common/ci.yml.j2",
    "{module}/__init__.py": "common/init.py.j2",
    "{module}/component.py": "kinds/{kind}.py.j2",
    "tests/test_{name}.py": "kinds/{kind}.test.j2",
}
"""File of the package -> template."""

USE: Mapping[str, str] = {
    "operator": '[[operators]]  # instead of the built-in ones\nuse = "{name}"',
    "selector": '[selection]\nuse = "{name}"',
    "trainer": '[trainer]\nuse = "{name}"',
    "evaluator": '[[evaluators]]\nuse = "heldout"\n\n[[evaluators]]\nuse = "{name}"',
    "checker": '[[checkers]]\nuse = "{name}"',
    "executor": '[executor]\nuse = "{name}"',
    "tracker": '[[trackers]]\nuse = "{name}"',
}
"""How an experiment uses a component of a kind; the other kinds are not named in one."""


def write_package(name: str, kind: str, parent: Path) -> Path:
    """Write a package `genesys-engine-NAME` into `parent` and return its folder.

    Args:
        name: lower case, digits, `-` and `_`; what the component is called too.
        kind: one of `KINDS`, also with `-` for `_`.

    Raises:
        InputError: a name or kind that is not possible, or a folder that exists.
    """
    kind = kind.replace("-", "_")
    if kind not in KINDS:
        raise InputError(f"unknown kind {kind!r}", where="--kind", hint=suggest(kind, KINDS))
    short = name.removeprefix("genesys-engine-")
    if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", short):
        raise InputError(
            f"{name!r} is no name for a package", hint="lower case, digits, single - and _"
        )
    values = _values(short.replace("-", "_"), kind)
    _refuse_taken(values)
    folder = parent / values["distribution"]
    if folder.exists():
        raise InputError("exists already", where=str(folder), hint="choose another name or folder")
    for file, template in FILES.items():
        path = folder / file.format(**values)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_render(template, values), encoding="utf-8")
    return folder


def _render(template: str, values: Mapping[str, str]) -> str:
    """Return the text of a file of the package."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Python and TOML, not HTML
    )
    return environment.get_template(template.format(**values)).render(values)


def _refuse_taken(values: Mapping[str, str]) -> None:
    """Raise `InputError` where the component would have a name that Python or its code uses."""
    name, target = values["name"], values["target"]
    other = _render(FILES["{module}/component.py"], _values("of_another_name", values["kind"]))
    if keyword.iskeyword(name) or keyword.iskeyword(target):
        taken = "it is a word of Python"
    elif target in _global_names(symtable.symtable(other, "component.py", "exec")):
        taken = f"the code of the package uses {target!r} already"
    else:
        return
    raise InputError(
        f"{name!r} is no name for a {values['kind_words']}: {taken}",
        hint=f"choose another one, such as my-{name.replace('_', '-')}",
    )


def _global_names(table: symtable.SymbolTable) -> set[str]:
    """Return the names of a module, and those that its functions look up outside themselves."""
    if table.get_type() == "module":
        found = set(table.get_identifiers())
    else:
        found = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
    return found.union(*map(_global_names, table.get_children()))


def _values(name: str, kind: str) -> dict[str, str]:
    """Return what the templates are filled with."""
    words = name.replace("_", " ")
    camel = "".join(word.capitalize() for word in words.split())
    return {
        "name": name,
        "kind": kind,
        "kind_words": kind.replace("_", " "),
        "hook": KINDS[kind],
        "distribution": f"genesys-engine-{name.replace('_', '-')}",
        "module": f"genesys_engine_{name}",
        "target": name if kind == "report_section" else camel,
        "title": words.title(),
        "summary": words.capitalize(),
        "engine": ".".join(__version__.split(".")[:2]),
        "use": USE.get(kind, "").format(name=name),
    }
