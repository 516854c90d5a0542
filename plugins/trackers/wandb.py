"""Weights & Biases: the numbers of the log, and the experiment as configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

from genesys_engine.plugins.api import Field, Options, TrackedRun
from genesys_engine.plugins.trackers.series import numbers, require, sentence


class WandbOptions(Options):
    """Where the run is shown.

    A key is read by wandb itself from its environment or login, never from an experiment.
    """

    project: str = Field(default="genesys-engine", min_length=1, description="project at W&B")
    entity: str | None = Field(default=None, description="user or team that the project is of")
    mode: Literal["offline", "online"] = Field(
        default="offline", description="offline writes files only; `wandb sync` sends them"
    )


class WandbTracker:
    """One run at W&B per run here; a resumed run continues there."""

    Options = WandbOptions

    def __init__(self, options: WandbOptions, *, run: TrackedRun) -> None:
        wandb = require("wandb", "wandb")
        self._run: Any = wandb.init(
            project=options.project,
            entity=options.entity,
            mode=options.mode,
            name=run.name,
            id=hashlib.sha256(str(run.folder.resolve()).encode()).hexdigest()[:16],
            resume="allow",
            dir=str(run.folder),
            config=_plain(run.experiment),
            settings=wandb.Settings(silent=True, console="off", disable_git=True),
        )

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Log the numbers of one event; the step is its number."""
        values: dict[str, Any] = dict(numbers(event))
        if text := sentence(event):
            values["log"] = text
        if values:
            self._run.log(values, step=event["id"])

    def close(self) -> None:
        """Finish the run at W&B."""
        self._run.finish()


def _plain(value: Any) -> Any:
    """Return read-only JSON data as dicts and lists."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
