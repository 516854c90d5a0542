"""`genesys-engine config`."""

from __future__ import annotations

import click

from genesys_engine.engine.cli.near import NearGroup
from genesys_engine.engine.cli.output import answer, in_json
from genesys_engine.plugins.host import PluginHost


@click.group("config", cls=NearGroup)
def command() -> None:
    """Print the JSON Schema of experiment files, for editors."""


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of experiment files, including the options of installed plugins.

    For completion in an editor, write the schema to experiment.schema.json and start the
    experiment file with `#:schema experiment.schema.json`.
    """
    from genesys_engine.engine.config.json_schema import experiment_schema

    found = experiment_schema(PluginHost().registry)
    answer(in_json(found, indent=2))
