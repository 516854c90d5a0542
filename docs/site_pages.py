"""Pages of the site that are made from the code whenever it is built: a hook of mkdocs.

The commands come from click, the finding codes from the catalogue, and the names of Python from
`genesys_engine` and, for authors of plugins, `genesys_engine.plugins.api`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

import genesys_engine as engine
from genesys_engine.engine.cli.app import COMMANDS, PROGRAM, cli
from genesys_engine.gab.checks.report import ADVICE
from genesys_engine.plugins import api

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

WIDTH = 80


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to those of the folder; mkdocs calls it."""
    from mkdocs.structure.files import File

    for name, page in (
        ("commands.md", commands),
        ("finding-codes.md", finding_codes),
        ("plugin-api.md", plugin_api),
        ("python-api.md", python_api),
    ):
        files.append(File.generated(config, name, content=page()))
    return files


def commands() -> str:
    """Return the page of all commands: the help of each, as it is printed."""
    lines = [
        "# Commands",
        "",
        "Data goes to stdout, everything else to stderr. `--json` answers as",
        '`{"schema": 1, "data": ...}`. Exit codes: 0 done, 1 goal not met, 2 usage, configuration',
        "or plugin error, 3 bug, 4 environment, 5 stopped by budget, 130 interrupted.",
        "",
        "| command | |",
        "|---|---|",
        *(f"| [`{name}`](#{PROGRAM}-{name}) | {line} |" for name, line in COMMANDS.items()),
    ]
    with click.Context(cli, info_name=PROGRAM) as top:
        for name in COMMANDS:
            command = cli.get_command(top, name)
            assert command is not None, f"{name} is in the list of commands"
            lines += _command(command, name, top, "##")
    return "\n".join(lines) + "\n"


def _command(command: click.Command, name: str, parent: click.Context, level: str) -> Iterator[str]:
    """Yield the section of a command, then those of its own commands."""
    with click.Context(command, parent, name, terminal_width=WIDTH, max_content_width=WIDTH) as ctx:
        yield from ["", f"{level} `{ctx.command_path}`", "", "```text"]
        yield from [command.get_help(ctx), "```"]
        if isinstance(command, click.Group):
            for each in command.list_commands(ctx):
                inner = command.get_command(ctx, each)
                assert inner is not None, f"{each} is in the list of {ctx.command_path}"
                yield from _command(inner, each, ctx, level + "#")


def finding_codes() -> str:
    """Return the page of finding codes, each with its remedy and a link to its explanation."""
    lines = [
        "# Finding codes",
        "",
        "Codes are stable: scripts, SARIF logs and plugins may rely on them. [units.md](units.md)",
        "has those of units and trees (`contract.*`).",
        "",
        "| code | fix |",
        "|---|---|",
    ]
    explained = Path(__file__).with_name("auditor.md").read_text(encoding="utf-8")
    for code, advice in ADVICE.items():
        kind = "-warning" if f"### `{code}` (warning)" in explained else ""
        cell = advice.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
        lines.append(f"| [`{code}`](auditor.md#{code.replace('.', '')}{kind}) | {cell} |")
    return "\n".join(lines) + "\n"


def plugin_api() -> str:
    """Return the page of what plugins import."""
    lines = [
        "# Python for plugins",
        "",
        "Everything that a plugin imports comes from `genesys_engine.plugins.api`.",
        "[write-a-plugin.md](write-a-plugin.md) walks through a package; [hooks.md](hooks.md)",
        "lists the hooks.",
        "",
    ]
    lines += [f"::: {place}\n" for place in _places(api, api.__all__)]
    return "\n".join(lines)


def python_api() -> str:
    """Return the page of the public names of the package, less those of plugins."""
    lines = [
        "# Python reference",
        "",
        "The names of `import genesys_engine as ge`; [python.md](python.md) shows them at work.",
        "",
    ]
    shown = set(_places(api, api.__all__))
    places = [place for place in _places(engine, engine.__all__) if place not in shown]
    lines += [f"::: {place}\n" for place in places]
    return "\n".join(lines)


def _places(module: object, names: Iterable[str]) -> Iterator[str]:
    """Yield where the classes and functions of ours among some names are defined, once each."""
    seen = set()
    for name in sorted(names):
        found = getattr(module, name)
        ours = str(getattr(found, "__module__", "")).startswith("genesys_engine")
        if ours and (inspect.isclass(found) or inspect.isfunction(found)):
            place = f"{found.__module__}.{found.__qualname__}"
            if place not in seen:
                yield place
            seen.add(place)
