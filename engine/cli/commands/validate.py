"""`genesys-engine validate EXPERIMENT`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from genesys_engine.engine.cli.output import answer, json_option, note, print_json, set_option
from genesys_engine.engine.config import ConfigError

if TYPE_CHECKING:
    from genesys_engine.engine.api.experiment import Experiment


@click.command("validate")
@click.argument("experiment", type=click.Path(path_type=Path))
@set_option
@click.option(
    "--live", is_flag=True, help="Send one test request to the language model of every role."
)
@json_option
def command(experiment: Path, sets: tuple[str, ...], live: bool, as_json: bool) -> int:
    """Check an experiment and everything it refers to; list every error with its location.

    Nothing is downloaded, and no service is contacted without --live. Exit code 2 on any error.
    """
    from genesys_engine.engine.api.experiment import Experiment

    try:
        chosen = Experiment.from_toml(experiment, sets)
        warnings = chosen.validate()
        if live:
            _try_models(chosen)
    except ConfigError as error:
        if not as_json:
            raise
        print_json({"valid": False, "problems": [each.to_json() for each in error.problems]})
        return ConfigError.exit_code
    if as_json:
        about = {"problems": [], "warnings": list(warnings), "digest": chosen.digest}
        print_json({"valid": True, **about})
        return 0
    for warning in warnings:
        note(f"warning: {warning}")
    answer(f"{experiment} is valid: {chosen.summary()}")
    return 0


def _try_models(chosen: Experiment) -> None:
    """Send one request to the model of every role; raise `ConfigError` with all failures."""
    from genesys_engine.engine.config.problems import Problem
    from genesys_engine.engine.llm.trial import try_models
    from genesys_engine.plugins.host import PluginHost

    problems = []
    registry = PluginHost(chosen.config.plugins.disable, chosen.config.plugins.local).registry
    for trial in try_models(chosen.config, registry, lambda role: note(f"asking the {role}")):
        note(f"{trial.role}: {trial.place} {trial.found}".rstrip())
        if trial.fault:
            where = f"[llm] {trial.role}: {trial.place}"
            problems.append(Problem(trial.fault, where, None, trial.hint or None))
    if problems:
        raise ConfigError(problems)
