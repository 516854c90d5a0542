"""`genesys-engine config`."""

from __future__ import annotations

import click

from genesys_engine.engine.cli.near import NearGroup
from genesys_engine.engine.cli.output import answer, in_json
from genesys_engine.plugins.host import PluginHost


@click.group("config", cls=NearGroup)
def command() -> None:
    """What an experiment file may hold."""


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of an experiment, with the installed plugins' options.

    An editor completes with it: put `#:schema experiment.schema.json` on the first line of an
    experiment and write the schema to that file.
    """
    from genesys_engine.engine.config.json_schema import experiment_schema

    found = experiment_schema(PluginHost().registry)
    answer(in_json(found, indent=2))
