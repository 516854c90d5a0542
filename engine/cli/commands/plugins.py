"""`genesys-engine plugins`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from genesys_engine.engine.cli.output import json_option, print_json, print_table
from genesys_engine.plugins.host import PluginHost

_broken_option = click.option("--broken", is_flag=True, help="Only plugins that do not work.")


@click.group("plugins", invoke_without_command=True)
@json_option
@_broken_option
@click.pass_context
def command(ctx: click.Context, as_json: bool, broken: bool) -> None:
    """List plugins and the components they bring."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_plugins, as_json=as_json, broken=broken)


@command.command("list")
@json_option
@_broken_option
@click.pass_context
def list_plugins(ctx: click.Context, as_json: bool, broken: bool) -> None:
    """List plugins and the components they bring; no component is imported."""
    host = PluginHost()
    program = ctx.find_root().command
    if isinstance(program, click.Group):
        host.add_commands(program)  # a command that collides shows only when it is added
    records = host.broken() if broken else host.records
    components = () if broken else host.registry.descriptions()
    if as_json:
        data: dict[str, Any] = {"plugins": [asdict(record) for record in records]}
        if not broken:
            data["components"] = [component.to_json() for component in components]
        print_json(data)
        return
    if broken and not records:
        click.echo("no plugin is broken")
        return
    print_table(
        ("plugin", "distribution", "version", "status", "hook", "place", "message"),
        [
            (r.name, r.distribution, r.version, r.status, r.where, r.location, r.message)
            for r in records
        ],
    )
    if components:
        print_table(
            ("kind", "name", "summary", "distribution"),
            [(c.kind, c.name, c.summary, c.distribution) for c in components],
        )
