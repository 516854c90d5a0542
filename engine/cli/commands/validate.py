"""`genesys-engine validate EXPERIMENT`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from genesys_engine.engine.cli.output import answer, json_option, note, print_json, set_option
from genesys_engine.engine.config import ConfigError, Experiment

if TYPE_CHECKING:
    from genesys_engine.engine.run.context import Setup


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
    from genesys_engine.engine.run import preflight
    from genesys_engine.engine.run.assembly import load
    from genesys_engine.gab.errors import GenesysError

    try:
        setup = load(experiment, sets)
        preflight.validate(setup)
        if live:
            _try_models(setup)
    except ConfigError as error:
        problems = list(error.problems)
    except GenesysError as error:
        problems = [preflight.as_problem(error)]
    else:
        _report(experiment, setup.experiment, list(preflight.warnings(setup)), as_json)
        return 0
    if not as_json:
        raise ConfigError(problems)
    print_json({"valid": False, "problems": [problem.to_json() for problem in problems]})
    return ConfigError.exit_code


def _try_models(setup: Setup) -> None:
    """Send one request to the model of every role; raise `ConfigError` with all failures."""
    from genesys_engine.engine.config.problems import Problem
    from genesys_engine.engine.llm.trial import try_models

    problems = []
    experiment, registry = setup.experiment, setup.host.registry
    for trial in try_models(experiment, registry, lambda role: note(f"asking the {role}")):
        note(f"{trial.role}: {trial.place} {trial.found}".rstrip())
        if trial.fault:
            where = f"[llm] {trial.role}: {trial.place}"
            problems.append(Problem(trial.fault, where, None, trial.hint or None))
    if problems:
        raise ConfigError(problems)


def _report(file: Path, experiment: Experiment, warnings: list[str], as_json: bool) -> None:
    """Report that an experiment is valid, with warnings about its limits."""
    if as_json:
        about = {"problems": [], "warnings": warnings, "digest": experiment.digest}
        print_json({"valid": True, **about})
        return
    for warning in warnings:
        note(f"warning: {warning}")
    answer(f"{file} is valid: {_summary(experiment)}")


def _summary(experiment: Experiment) -> str:
    from genesys_engine.engine.common.text import plural

    rungs = ", ".join(
        f"{plural(rung.verifications, 'verification')} at {rung.scale}"
        for rung in experiment.ladder.rungs
    )
    seeds = plural(len(experiment.population.seeds), "seed")
    children = plural(experiment.budget.designs, "child", "children")
    return f"{seeds}, up to {children}, {rungs}"
