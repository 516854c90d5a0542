"""The paths of an experiment that are relative to its file, as overrides for a copy elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genesys_engine.engine.config.template import toml_value

RELATIVE = (("plugins", "local"), ("knowledge", "base"), ("compare", "proposals"))
"""Section and key of every such path, or list of paths."""


def kept_paths(experiment: Mapping[str, Any]) -> list[str]:
    """Return what `--set` takes so that the copy of an experiment in a folder means the same paths.

    Args:
        experiment: as a store keeps it (`Experiment.to_json`), its paths made whole.
    """
    found = ((section, key, experiment.get(section, {}).get(key)) for section, key in RELATIVE)
    return [f"{section}.{key}={toml_value(value)}" for section, key, value in found if value]
