"""`genesys-engine plugins`: list, inspect and create plugins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import click

from genesys_engine.engine.cli import completing
from genesys_engine.engine.cli.near import NearChoice, NearGroup
from genesys_engine.engine.cli.options_view import OptionRow, option_rows
from genesys_engine.engine.cli.output import (
    answer,
    json_option,
    note,
    print_json,
    print_table,
    reserve_stdout,
    wrapped,
)
from genesys_engine.engine.cli.tables import (
    Column,
    Layout,
    layout_options,
    print_csv,
    print_results,
)
from genesys_engine.gab.errors import InputError, PluginError
from genesys_engine.plugins.host import BUILTIN, PluginHost, PluginRecord
from genesys_engine.plugins.registry import KINDS, Description, suggest

_broken_option = click.option("--broken", is_flag=True, help="Show only broken plugins.")
_times_option = click.option("--times", is_flag=True, help="Show the load time of each plugin.")


@click.group("plugins", cls=NearGroup, invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Answer with JSON.")
@_broken_option
@_times_option
@layout_options
@click.pass_context
def command(ctx: click.Context, as_json: bool, broken: bool, times: bool, layout: Layout) -> None:
    """List plugins and their components."""
    if ctx.invoked_subcommand is None:
        if as_json:
            reserve_stdout(ctx)
        asked = {"wide": layout.wide, "columns": ",".join(layout.columns), "as_csv": layout.csv}
        ctx.invoke(list_plugins, as_json=as_json, broken=broken, times=times, **asked)


@command.command("list")
@json_option
@_broken_option
@_times_option
@layout_options
@click.pass_context
def list_plugins(
    ctx: click.Context, as_json: bool, broken: bool, times: bool, layout: Layout
) -> None:
    """List plugins and their components, with options."""
    host = PluginHost()
    program = ctx.find_root().command
    if isinstance(program, click.Group):
        host.add_commands(program)  # a command that collides shows only when it is added
    records = host.broken() if broken else host.records
    components = () if broken or times else host.registry.descriptions()
    if as_json:
        data = {"plugins": [asdict(record) for record in records]}
        if components:
            data["components"] = [_component(host, described).to_json() for described in components]
        print_json(data)
    elif times:
        _print_times(records)
    elif broken and not records:
        answer("no plugin is broken")
    else:
        if not layout.csv:
            _print_plugins(records)
        if components:
            _print_components(host, components, layout)


@command.command("show")
@click.argument("name", shell_complete=completing.components)
@json_option
def show_plugin(name: str, as_json: bool) -> None:
    """Show the plugin or component NAME: options, defaults, origin."""
    host = PluginHost()
    records = [record for record in host.records if record.goes_by(name)]
    mine = {record.distribution for record in records}
    components = [
        described
        for described in host.registry.descriptions()
        if name in (described.name, f"{described.kind}:{described.name}")
        or described.distribution in mine
    ]
    if not records and not components:
        known = [described.name for described in host.registry.descriptions()]
        known += [record.distribution for record in host.records]
        raise InputError(f"unknown plugin or component {name!r}", hint=suggest(name, known))
    if as_json:
        found = [_component(host, described).to_json() for described in components]
        print_json({"plugins": [asdict(record) for record in records], "components": found})
        return
    if records:
        _print_plugins(records)
    for described in components:
        about = _component(host, described)
        answer(wrapped(f"{described.kind} {described.name}: {described.summary}", 2))
        origin = f", {about.origin}" if about.origin else ""
        answer(f"  {described.distribution} {described.version}{origin}")
        answer(f"  {described.target}")
        if about.fault:
            answer(f"  cannot be used: {about.fault}")
        rows = about.options
        if rows:
            print_table(
                ("option", "type", "default", "meaning"),
                [(r.name, r.type, "required" if r.required else r.shown, r.meaning) for r in rows],
            )


@command.command("new")
@click.argument("name")
@click.option(
    "--kind",
    required=True,
    type=NearChoice([kind.replace("_", "-") for kind in KINDS]),
    help="Kind of component to provide.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Parent folder of the new package; default: the current folder.",
)
@json_option
def new_plugin(name: str, kind: str, out: Path, as_json: bool) -> None:
    """Create the package genesys-engine-NAME: code, options, tests, README, CI."""
    from genesys_engine.engine.cli.scaffold import write_package

    folder = write_package(name, kind, out)
    if as_json:
        print_json({"folder": str(folder)})
        return
    answer(str(folder))
    note(f"Next: cd {folder} && pip install -e '.[dev]' && python -m pytest")


@dataclass(frozen=True)
class _Component:
    """A component with its options, or with the `fault` that prevents its import."""

    described: Description
    origin: str
    fault: str
    options: tuple[OptionRow, ...]

    def to_json(self) -> dict[str, object]:
        """Return it as the command line gives it out."""
        about = {"origin": self.origin, "fault": self.fault}
        options = [asdict(row) for row in self.options]
        return {**self.described.to_json(), **about, "options": options}


def _component(host: PluginHost, described: Description) -> _Component:
    """Return a component with its options, or with the error that prevents its import."""
    fault, rows = "", list[OptionRow]()
    try:
        rows = option_rows(described)
    except PluginError as error:
        fault = str(error)
    origins = (r.origin for r in host.records if r.distribution == described.distribution)
    return _Component(described, next(origins, ""), fault, tuple(rows))


def _print_plugins(records: Sequence[PluginRecord]) -> None:
    """List plugins, each with its faults below."""
    print_table(
        ("plugin", "distribution", "version", "status"),
        [(r.name, r.distribution, r.version, r.status) for r in records],
    )
    for record in records:
        if record.message or record.status in ("broken", "silenced"):
            where = ": ".join(filter(None, (record.name, record.where, record.location)))
            answer(wrapped(f"{where}: {record.message}"))
            if advice := record.advice() if record.status in ("broken", "silenced") else "":
                answer(f"  help: {wrapped(advice, 8)}")


def _print_components(host: PluginHost, components: Sequence[Description], layout: Layout) -> None:
    abouts = [_component(host, described) for described in components]
    if layout.csv:
        print_csv(COMPONENTS, abouts, layout)
    elif layout.wide or layout.columns:
        print_results(COMPONENTS, abouts, layout)
    else:
        for kind, group in groupby(abouts, lambda each: each.described.kind):
            answer(kind.replace("_", " "))
            for each in group:
                summary, about = each.fault or each.described.summary, each.described
                name = about.name if about.distribution == BUILTIN else _named(about)
                answer(f"  {name:<23}  {wrapped(summary, 27)}")
        note("options: genesys-engine plugins show NAME, or plugins --wide")


def _named(about: Description) -> str:
    return f"{about.name} ({about.distribution})"


def _options(component: _Component) -> str:
    """Return the options of a component in one line."""
    items = (
        f"{row.name}: {row.type}" + ("" if row.required else f" = {row.shown}")
        for row in component.options
    )
    return ", ".join(items)


COMPONENTS: tuple[Column[_Component], ...] = (
    Column("kind", "kind", lambda each: each.described.kind, rank=0, left=True),
    Column("name", "name", lambda each: each.described.name, rank=0, left=True),
    Column("distribution", "distribution", lambda each: each.described.distribution, left=True),
    Column("version", "version", lambda each: each.described.version, left=True),
    Column("summary", "summary", lambda each: each.described.summary, rank=1, left=True),
    Column("options", "options", lambda each: each.fault or _options(each), left=True),
)


def _print_times(records: Sequence[PluginRecord]) -> None:
    slowest = sorted(records, key=lambda record: -record.seconds)
    print_table(
        ("plugin", "distribution", "seconds", "imports too much"),
        [(r.name, r.distribution, f"{r.seconds:.3f}", ", ".join(r.heavy)) for r in slowest],
    )
