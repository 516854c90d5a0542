"""The tracker and its options."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genesys_engine.plugins import api

COLUMNS = ("event", "at", "design", "rung", "replicate", "status", "fitness", "metric", "value")


class CsvOptions(api.Options):
    """What an experiment may set beside `use`; unknown keys and wrong types are refused."""

    file: str = api.Field(
        default="scores.csv", min_length=1, description="relative to the folder of the run"
    )


class Csv:
    """One line per score of a verification, one per failure, for a spreadsheet.

    After a crash an event may come again: what the file holds already is not written twice.
    """

    Options = CsvOptions

    def __init__(self, options: CsvOptions, *, run: api.TrackedRun) -> None:
        path = run.folder / options.file
        self._written = last_event(path)
        self._file = path.open("a", encoding="utf-8", newline="")
        self._writer = csv.DictWriter(self._file, COLUMNS)
        if self._file.tell() == 0:
            self._writer.writeheader()

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Write the lines of one event."""
        if event["id"] <= self._written:
            return
        for line in lines(event):
            self._writer.writerow({"event": event["id"], "at": f"{event['at']:.3f}", **line})
        self._file.flush()
        self._written = event["id"]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def lines(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the lines of an event; most have none."""
    payload = event["payload"]
    if event["kind"] not in ("verification.finished", "verification.failed"):
        return []
    about = {key: payload[key] for key in ("design", "rung", "replicate")}
    if event["kind"] == "verification.failed":
        return [{**about, "status": payload["cause"]}]
    about |= {"status": "ok", "fitness": payload["fitness"]}
    return [{**about, "metric": name, "value": v} for name, v in sorted(payload["scores"].items())]


def last_event(path: Path) -> int:
    """Return the number of the last event in the file; 0 where there is none."""
    if not path.exists():
        return 0
    with path.open(encoding="utf-8", newline="") as file:
        return max((int(row["event"]) for row in csv.DictReader(file)), default=0)
