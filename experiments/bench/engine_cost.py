"""The engine's own cost per design as a run grows, training answered from a record.

    python experiments/bench/engine_cost.py [--designs 10000]
    python experiments/bench/engine_cost.py --designs 10000 --workers 64

Selection, variation, composition, digests, store and events are real; only the worker's answers
are recorded scores, with `--workers` given by so many threads at a time.  Prints the cost per
design and per result at 100, 1,000, 3,000 and 10,000 designs (of processor time, all threads of
this process, so that others count little), the time to open the store and read the
leaderboard, and the peak memory of this process.  Goals: below 10 ms per design and flat, and
per result with 64 workers; below 1 s; below 600 MB.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from pathlib import Path

from genesys_engine.engine.config import load_experiment
from genesys_engine.engine.corpus.prepared import PreparedCorpus
from genesys_engine.engine.run.assembly import assemble
from genesys_engine.engine.run.context import RunContext
from genesys_engine.engine.run.lifecycle import run_started
from genesys_engine.engine.store.run_store import Store
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.testing.recorded import RecordedExecutor

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
MARKS = (100, 1_000, 3_000, 10_000)


def main() -> None:
    """Run one long simulated run and print what it cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--designs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=0, help="0: answers without a thread")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="engine-cost-"))
    try:
        grow(work, arguments.designs, arguments.workers)
        read(work / "run")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def grow(work: Path, designs: int, workers: int) -> None:
    """Evolve `designs` designs; print the cost of the last hundred at each mark."""
    file = work / "experiment.toml"
    budget = {"rung0": designs + 50, "rung1": designs // 4, "designs": designs}
    budget["workers"] = workers or 1
    file.write_text(EXPERIMENT.format(**budget))
    host = PluginHost()
    experiment = load_experiment(file, (), host.registry)
    executor = RecordedExecutor(workers=workers)
    marks = [mark for mark in MARKS if mark <= designs]
    began, accepted, last = time.perf_counter(), 0, (time.process_time(), 0)

    def observe(event: object) -> None:
        nonlocal accepted, last
        accepted += getattr(event, "kind", "") == "design.accepted"
        if getattr(event, "kind", "") != "design.accepted" or accepted % 100:
            return
        now, results = time.process_time(), sum(executor.calls.values())
        if accepted in marks:
            spent, given = 1000 * (now - last[0]), max(1, results - last[1])
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{accepted:7,} designs: {spent / 100:6.2f} ms per design,"
                f" {spent / given:5.2f} ms per result, {peak:.0f} MB peak",
                flush=True,
            )
        last = (now, results)

    context = RunContext(host, experiment, PreparedCorpus(str(work), 1024))
    with Store.create(work / "run", {"experiment": experiment.to_json()}) as store:
        store.curves.allocate(designs * 2)
        with store.transaction():
            store.add_event(run_started(context))
        evolution = assemble(store, context, executor, [], observe, lambda: None)
        evolution.run()
        evolution.designer.close()
    print(f"whole run: {time.perf_counter() - began:.1f} s, {executor.calls}")


def read(folder: Path) -> None:
    """Print how long it takes to open the store and to read from it."""
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
