"""One real run that the tests of the Python API share: stopped twice, resumed, finished."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from engine_process import write_experiment

import genesys_engine as ge

# Of four children some are of units that no library has: their code is not trusted.
MORE = """
[[operators]]
use = "new_unit"
[[operators]]
use = "unit_replacement"
weight = 0.2
"""


@dataclass
class Session:
    """A run that was made through the Python API, and what was seen on the way."""

    folder: Path
    experiment: ge.Experiment
    run: ge.Run
    kinds: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    printed: str = ""
    left: list[str] = field(default_factory=list)


@pytest.fixture(scope="package")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Begin inside a running event loop, as in a notebook; stop; interrupt; finish in a thread."""
    # A suite that a script starts in the background ignores SIGINT, and so would Python.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = tmp_path_factory.mktemp("session")
    file = write_experiment(folder, verifications=3, designs=2, more=MORE)
    experiment = ge.Experiment.from_toml(file, {"run.workers": 1})
    file.unlink()  # what was read is what counts
    before = _surroundings()
    made = Session(folder, experiment, None)  # type: ignore[arg-type]

    def note(event: ge.Event) -> None:
        made.kinds.append(event.kind)

    async def begin() -> ge.Run:
        enough = "verification.started"
        return ge.run(
            experiment,
            out=folder / "run",
            on_event=note,
            on_message=made.messages.append,
            should_stop=lambda: enough in made.kinds,
        )

    made.run = asyncio.run(begin())
    made.states.append(made.run.state)

    def ctrl_c(event: ge.Event) -> None:
        note(event)
        if event.kind == "verification.finished":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as interrupt:
        ge.resume(folder / "run", on_event=ctrl_c)
    made.messages += interrupt.value.__notes__
    made.states.append(made.run.state)

    def finish() -> None:
        made.states.append(ge.resume(folder / "run", on_event=note).state)

    thread = threading.Thread(target=finish)
    thread.start()
    thread.join()
    made.left = sorted(_surroundings() - before)
    signal.signal(signal.SIGINT, inherited)
    return made


def _surroundings() -> set[str]:
    """Return threads, children, handlers and the like, which a run must leave as they were."""
    children = [
        f"child {entry.name}"
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _parent(entry) == os.getpid()
    ]
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [f"handler {number} {signal.getsignal(number)}" for number in numbers]
    # Zarr keeps threads of its own for the whole process, whoever opens the first array.
    threads = [f"thread {each.name}" for each in threading.enumerate() if not _of_zarr(each)]
    mask = os.umask(0o77)
    os.umask(mask)
    return {*children, *handlers, *threads, f"umask {mask}", f"folder {Path.cwd()}"}


def _of_zarr(thread: threading.Thread) -> bool:
    return thread.name.startswith(("zarr", "asyncio_"))


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
