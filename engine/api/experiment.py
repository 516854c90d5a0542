"""An experiment in Python: read, checked, changed, told apart by its digest."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genesys_engine.engine.api.failures import engine_errors
from genesys_engine.engine.common.text import plural
from genesys_engine.engine.common.toml_text import toml_value
from genesys_engine.engine.config.load import read_source
from genesys_engine.engine.config.problems import ConfigError
from genesys_engine.engine.config.source import Source, plain_value, tables_source
from genesys_engine.engine.config.template import to_toml
from genesys_engine.engine.run import preflight
from genesys_engine.engine.run.assembly import load_setup
from genesys_engine.gab.errors import GenesysError, InputError

if TYPE_CHECKING:
    from genesys_engine.engine.config import schema
    from genesys_engine.engine.run.context import Setup

Sets = Mapping[str, object] | Sequence[str]
"""Changes: {"run.seed": 2}, or as the command line's --set has them: ["run.seed=2"]."""


class Experiment:
    """An experiment that was read and checked; it never changes.

    Made by `from_toml` or `from_dict`.  The file may change or vanish afterwards: the text that was
    read is what a run keeps.
    """

    def __init__(self, source: Source) -> None:
        """Read the experiment of a source.

        Raises:
            ConfigError: with every fault in it.
        """
        self._source = source
        try:
            self._setup = load_setup(source)
        except ConfigError:
            raise
        except GenesysError as error:
            raise ConfigError([preflight.as_problem(error)]) from error

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str], sets: Sets = ()) -> Experiment:
        """Read an experiment from a TOML file.

        Args:
            path: the file.
            sets: changes to it: {"run.seed": 2, "ladder.rungs.0.tokens": 65_536}, or the words
                of the command line, ["run.seed=2"].

        Raises:
            ConfigError: `problems` holds every fault, each with its line and column.
        """
        try:
            with engine_errors():
                source = read_source(Path(path), _words(sets))
        except GenesysError as error:
            raise ConfigError([preflight.as_problem(error)]) from error
        return cls(source)

    @classmethod
    def from_dict(
        cls,
        tables: Mapping[str, object],
        sets: Sets = (),
        folder: str | os.PathLike[str] | None = None,
    ) -> Experiment:
        """Read an experiment from nested tables, as `tomllib` would have read them from a file.

        Args:
            tables: {"run": {"seed": 1}, "ladder": {"rungs": [{"scale": "0.2M", ...}]}, ...}; a
                value of None leaves its key out.
            sets: changes to it, as in `from_toml`.
            folder: what relative paths in it are relative to; None: the working folder.

        Raises:
            ConfigError: `problems` holds every fault, each with its keys.
        """
        where = None if folder is None else Path(folder)
        return cls(tables_source(tables, _words(sets), where))

    @property
    def name(self) -> str:
        """Its name (`run.name`): of the file, where it gives none."""
        return self.config.run.name

    @property
    def digest(self) -> str:
        """SHA-256 of all that can change a result; workers, paths and caps are not in it."""
        return self.config.digest

    @property
    def config(self) -> schema.Experiment:
        """Every section and key, defaults included, typed: `config.ladder.rungs[0].tokens`."""
        return self._setup.experiment

    @property
    def warnings(self) -> tuple[str, ...]:
        """What ends no run, but may disappoint whoever starts it."""
        return tuple(preflight.warnings(self._setup))

    def validate(self) -> tuple[str, ...]:
        """Look for what this machine and what the experiment refers to lack; return the warnings.

        Device, isolation, text, tasks in folders, keys of language models and the knowledge base
        are looked at; nothing is downloaded and no service is asked.

        Raises:
            ConfigError: with every fault.
        """
        try:
            with engine_errors():
                preflight.validate(self._setup)
        except ConfigError:
            raise
        except GenesysError as error:
            raise ConfigError([preflight.as_problem(error)]) from error
        return self.warnings

    def override(self, sets: Sets) -> Experiment:
        """Return the experiment with changes: `experiment.override({"run.seed": 2})`.

        Raises:
            ConfigError: with every fault in the changed one.
        """
        source = self._source
        words = (*source.sets, *_words(sets))
        return Experiment(Source(source.name, source.text, source.folder, words, source.tables))

    def to_dict(self) -> dict[str, object]:
        """Return all sections as plain data, defaults included; `from_dict` reads it again."""
        return self.config.to_json()

    def to_toml(self) -> str:
        """Return all sections as TOML, defaults and changes included."""
        return to_toml(self.config)

    def summary(self) -> str:
        """Return a line: seeds, children, verifications at each rung."""
        config = self.config
        rungs = ", ".join(
            f"{plural(rung.verifications, 'verification')} at {rung.scale}"
            for rung in config.ladder.rungs
        )
        seeds = plural(len(config.population.seeds), "seed")
        return f"{seeds}, up to {plural(config.budget.designs, 'child', 'children')}, {rungs}"

    def __repr__(self) -> str:
        """Return its name, summary and the beginning of its digest."""
        return f"<Experiment {self.name!r}: {self.summary()}; digest {self.digest[:12]}>"

    def _repr_html_(self) -> str:
        from genesys_engine.engine.report.templates import render

        return render("card_experiment", experiment=self)

    # --- for this room -----------------------------------------------------------------------

    @property
    def _parts(self) -> tuple[Setup, Source]:
        return self._setup, self._source


def as_experiment(given: Experiment | str | os.PathLike[str] | Mapping[str, object]) -> Experiment:
    """Return an experiment as it is, or read from a TOML file or from tables."""
    if isinstance(given, Experiment):
        return given
    if isinstance(given, Mapping):
        return Experiment.from_dict(given)
    if isinstance(given, str | os.PathLike):
        return Experiment.from_toml(given)
    hint = "give an Experiment, the path of a TOML file, or tables"
    raise InputError(f"a {type(given).__name__} is no experiment", hint=hint)


def _words(sets: Sets) -> tuple[str, ...]:
    """Return changes as the command line has them."""
    if isinstance(sets, str):
        return (sets,)
    if not isinstance(sets, Mapping):
        return tuple(sets)
    plain = {key: plain_value(value, (key,)) for key, value in sets.items()}
    return tuple(f"{key}={toml_value(value)}" for key, value in plain.items())
