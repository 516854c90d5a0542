"""`genesys-engine validate EXPERIMENT`."""

from __future__ import annotations

from pathlib import Path

import click

from genesys_engine.engine.cli.output import json_option, print_json, set_option
from genesys_engine.engine.config import ConfigError, Experiment, load_experiment
from genesys_engine.gab.errors import InputError


@click.command("validate")
@click.argument("experiment", type=click.Path(path_type=Path))
@set_option
@json_option
def command(experiment: Path, sets: tuple[str, ...], as_json: bool) -> int:
    """Check an experiment and show every fault with its place.

    Exit code 2 if there is any.
    """
    try:
        loaded = load_experiment(experiment, sets)
        if loaded.llm is not None:
            _look_over_models(loaded)
    except ConfigError as error:
        if not as_json:
            raise
        print_json({"valid": False, "problems": [problem.to_json() for problem in error.problems]})
        return error.exit_code
    if as_json:
        print_json({"valid": True, "problems": [], "digest": loaded.digest})
    else:
        click.echo(f"{experiment} is valid: {_summary(loaded)}")
    return 0


def _look_over_models(experiment: Experiment) -> None:
    """Raise `ConfigError` where a language model could not be asked: a key, a file, a price."""
    from genesys_engine.engine.config.problems import Problem
    from genesys_engine.engine.llm.backends import look_over
    from genesys_engine.plugins.host import PluginHost

    plugins = experiment.plugins
    try:
        look_over(experiment, PluginHost(plugins.disable, plugins.local).registry)
    except InputError as error:
        problem = Problem(error.message, error.where or "[llm]", None, error.hint)
        raise ConfigError([problem]) from error


def _summary(experiment: Experiment) -> str:
    rungs = ", ".join(
        f"{rung.verifications} verifications at {rung.scale}" for rung in experiment.ladder.rungs
    )
    seeds = len(experiment.population.seeds)
    plural = "" if seeds == 1 else "s"
    return f"{seeds} seed{plural}, up to {experiment.budget.designs} children, {rungs}"
