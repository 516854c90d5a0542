"""The experiment: one TOML file, read strictly.

`schema` is the reference of every section and key; `load` reads a file and `--set` overrides
and reports all faults at once, each with its place; `positions` finds the places.

May import `corpus`, `store` and `common`.
"""

from genesys_engine.engine.config.load import load_experiment
from genesys_engine.engine.config.problems import ConfigError, Problem
from genesys_engine.engine.config.schema import Component, Experiment

__all__ = ["Component", "ConfigError", "Experiment", "Problem", "load_experiment"]
