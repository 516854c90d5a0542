"""The engine's own cost per design as a run grows, training answered from a record.

    python experiments/bench/engine_cost.py [--designs 10000] [--workers 64] [--other FOLDER]

Selection, variation, composition, digests, store and events are real; only the worker's answers
are recorded scores, with `--workers` given by so many threads at a time.  Prints the cost per
design and per result before each mark (of processor time, user and system, all threads of this
process, so that others count little), the time to open the store and to read the leaderboard, and
the peak memory of this process.  With `--other`, the folder of another checkout, both builds run at
the same time, each in a process of its own.  Goals: at most 10 ms per design, at 10,000 as at 100,
and per result with 64 workers; below 1 s; below 600 MB.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

EXPERIMENT = """
[run]
name = "engine-cost"
workers = {workers}
designers = 1
[[ladder.rungs]]
scale = "0.2M"
verifications = {rung0}
[[ladder.rungs]]
scale = "1M"
verifications = {rung1}
[budget]
designs = {designs}
"""
MARKS = (100, 200, 500, 1_000, 2_000, 3_000, 5_000, 7_000, 10_000)
WINDOW = 500  # designs before a mark that are measured, or the half of them


def main() -> None:
    """Run one long simulated run of this build, or one of each of two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--designs", type=int, default=10_000)
    parser.add_argument("--other", type=Path, metavar="FOLDER", help="another checkout")
    parser.add_argument("--workers", type=int, default=0, help="0: answers without a thread")
    options = parser.parse_args()
    if options.other is None:
        measure(options.designs, options.workers)
        return
    here = Path(__file__).resolve().parents[2]
    builds = {"this": here, "other": options.other.resolve()}
    asked = ("--designs", str(options.designs), "--workers", str(options.workers))
    running = {name: begun(folder, asked) for name, folder in builds.items()}
    for name, process in running.items():
        print(f"--- {name} build: {builds[name]}\n{process.communicate()[0]}", flush=True)


def begun(checkout: Path, asked: Sequence[str]) -> subprocess.Popen[str]:
    """Begin to measure the build in a checkout."""
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), *asked],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        stdout=subprocess.PIPE,
        text=True,
    )


def measure(designs: int, workers: int) -> None:
    """Print what a run of this build costs."""
    work = Path(tempfile.mkdtemp(prefix="engine-cost-"))
    try:
        grow(work, designs, workers)
        read(work / "run")
    finally:
        shutil.rmtree(work, ignore_errors=True)


class Marks:
    """Takes processor time and results at the designs between which the cost is measured."""

    def __init__(self, designs: int, results: Callable[[], int]) -> None:
        self._results = results
        self._accepted = 0
        marks = [mark for mark in MARKS if mark <= designs]
        self._begun = {mark: mark - min(WINDOW, mark // 2) for mark in marks}
        self._at: dict[int, tuple[float, int]] = {}

    def observe(self, event: object) -> None:
        """Count an accepted design; print at a mark."""
        if getattr(event, "kind", "") != "design.accepted":
            return
        self._accepted += 1
        now = (time.process_time(), self._results())
        if self._accepted in self._begun.values():
            self._at[self._accepted] = now
        if (begun := self._begun.get(self._accepted)) is not None:
            spent, given = (
                after - before for after, before in zip(now, self._at[begun], strict=True)
            )
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{self._accepted:7,} designs: {1000 * spent / (self._accepted - begun):6.2f} ms"
                f" per design, {1000 * spent / max(1, given):5.2f} ms per result,"
                f" {peak:.0f} MB peak",
                flush=True,
            )


def grow(work: Path, designs: int, workers: int) -> None:
    """Evolve `designs` designs; print their cost at each mark."""
    from genesys_engine.engine.config import load_experiment
    from genesys_engine.engine.corpus.prepared import PreparedCorpus
    from genesys_engine.engine.run.assembly import assemble
    from genesys_engine.engine.run.context import RunContext
    from genesys_engine.engine.run.lifecycle import run_started
    from genesys_engine.engine.store.run_store import Store
    from genesys_engine.plugins.host import PluginHost
    from genesys_engine.plugins.testing.recorded import RecordedExecutor

    file = work / "experiment.toml"
    budget = {"rung0": designs + 50, "rung1": designs // 4, "designs": designs}
    budget["workers"] = workers or 1
    file.write_text(EXPERIMENT.format(**budget))
    host = PluginHost()
    experiment = load_experiment(file, (), host.registry)
    executor = RecordedExecutor(workers=workers)
    started = time.process_time()
    context = RunContext(host, experiment, PreparedCorpus(str(work), 1024))
    with Store.create(work / "run", {"experiment": experiment.to_json()}) as store:
        store.curves.allocate(designs * 2)
        with store.transaction():
            store.add_event(run_started(context))
        observe = Marks(designs, lambda: sum(executor.calls.values())).observe
        evolution = assemble(store, context, executor, [], observe, lambda: None)
        evolution.run()
        evolution.designer.close()
    spent = time.process_time() - started
    print(f"whole run: {spent:.1f} s of processor time, {executor.calls}")


def read(folder: Path) -> None:
    """Print how long it takes to open the store and to read from it."""
    from genesys_engine.engine.store.run_store import Store

    size = sum(path.stat().st_size for path in folder.rglob("*.sqlite*")) / 2**20
    started = time.perf_counter()
    store = Store.open(folder)
    opened = time.perf_counter()
    rows = store.leaderboard()
    ranked = time.perf_counter()
    print(
        f"store of {size:.0f} MB: open {1000 * (opened - started):.1f} ms,"
        f" leaderboard of {len(rows):,} rows {1000 * (ranked - opened):.0f} ms"
    )
    store.close()


if __name__ == "__main__":
    main()
