"""TensorBoard: scalars over the events of a run, and the sentence of every design as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genesys_engine.plugins.api import Field, Options, TrackedRun
from genesys_engine.plugins.trackers.series import numbers, require, sentence


class TensorboardOptions(Options):
    """Where the files of TensorBoard go."""

    folder: str = Field(
        default="tensorboard", min_length=1, description="relative to the folder of the run"
    )


class TensorboardTracker:
    """Writes event files; the step is the number of the event, the time that of the event.

    Look at them with `tensorboard --logdir RUN/tensorboard`.
    """

    Options = TensorboardOptions

    def __init__(self, options: TensorboardOptions, *, run: TrackedRun) -> None:
        writers = require("tensorboard.summary.writer.event_file_writer", "tensorboard")
        self._proto = require("tensorboard.compat.proto.event_pb2", "tensorboard")
        self._summary = require("tensorboard.compat.proto.summary_pb2", "tensorboard")
        self._tensor = require("tensorboard.util.tensor_util", "tensorboard")
        folder = run.folder / options.folder
        folder.mkdir(parents=True, exist_ok=True)
        self._writer: Any = writers.EventFileWriter(str(folder))

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Add the numbers and the sentence of one event."""
        summary = self._summary.Summary()
        for name, value in numbers(event).items():
            summary.value.add(tag=name, simple_value=value)
        if text := sentence(event):
            self._add_text(summary, text)
        if summary.value:
            entry = self._proto.Event(wall_time=event["at"], step=event["id"], summary=summary)
            self._writer.add_event(entry)

    def _add_text(self, summary: Any, text: str) -> None:
        about = self._summary.SummaryMetadata(
            plugin_data=self._summary.SummaryMetadata.PluginData(plugin_name="text")
        )
        tensor = self._tensor.make_tensor_proto([text.encode()])
        summary.value.add(tag="log", metadata=about, tensor=tensor)

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()
