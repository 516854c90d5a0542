"""MLflow: the numbers of the log as metrics, the sections of the experiment as parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from genesys_engine.plugins.api import PATH_OR_NAME, Field, Options, TrackedRun
from genesys_engine.plugins.trackers.series import numbers, require

RUN_ID = "mlflow_run_id"
"""File in the folder of the run: a resumed run continues in the same run of MLflow."""


class MlflowOptions(Options):
    """Where MLflow keeps the run."""

    uri: str | None = Field(
        default=None,
        description="tracking server, database, or a folder (a path that begins with / or ./);"
        " left out: a file in the run",
        json_schema_extra=PATH_OR_NAME,
    )
    experiment: str = Field(
        default="genesys-engine", min_length=1, description="name of the experiment at MLflow"
    )


class MlflowTracker:
    """Writes through MLflow's client, without its global state."""

    Options = MlflowOptions

    def __init__(self, options: MlflowOptions, *, run: TrackedRun) -> None:
        tracking = require("mlflow.tracking", "mlflow")
        self._entities = require("mlflow.entities", "mlflow")
        uri = options.uri or f"sqlite:///{run.folder.resolve() / 'mlflow.sqlite'}"
        self._client: Any = tracking.MlflowClient(tracking_uri=uri)
        self._id = self._run_id(options, run)

    def _run_id(self, options: MlflowOptions, run: TrackedRun) -> str:
        """Return the run at MLflow, made at the first time."""
        kept = run.folder / RUN_ID
        if kept.exists():
            return kept.read_text(encoding="utf-8")
        found = self._client.get_experiment_by_name(options.experiment)
        experiment = (
            found.experiment_id
            if found is not None
            else self._client.create_experiment(
                options.experiment, artifact_location=(run.folder.resolve() / "mlflow").as_uri()
            )
        )
        made: str = self._client.create_run(experiment, run_name=run.name).info.run_id
        for name, section in run.experiment.items():
            text = json.dumps(section, default=_plain, sort_keys=True)
            self._client.log_param(made, name, text[:6000])  # the most that MLflow takes
        kept.write_text(made, encoding="utf-8")
        return made

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Log the numbers of one event; the step is its number."""
        metric, at = self._entities.Metric, int(event["at"] * 1000)
        metrics = [metric(name, value, at, event["id"]) for name, value in numbers(event).items()]
        if metrics:
            self._client.log_batch(self._id, metrics=metrics)
        if event["kind"] == "run.finished":
            self._client.set_terminated(self._id)

    def close(self) -> None:
        """Nothing is held: MLflow's client writes at once."""


def _plain(value: Any) -> Any:
    """Return a read-only mapping as a dict, for JSON."""
    return dict(value)
