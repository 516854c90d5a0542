"""The engine's own cost per design as a run grows, training answered from a record.

    python experiments/bench/engine_cost.py [--designs 10000]

Selection, variation, composition, digests, store and events are real; only the worker's answers
are recorded scores.  Prints the cost per design at 100, 1,000 and 10,000 designs, the time to
open the store and read the leaderboard, and the coordinator's peak memory.  Goals: below 10 ms
per design and flat; below 1 s; below 600 MB.
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
workers = 1
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
    designs = parser.parse_args().designs
    work = Path(tempfile.mkdtemp(prefix="engine-cost-"))
    try:
        grow(work, designs)
        read(work / "run")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def grow(work: Path, designs: int) -> None:
    """Evolve `designs` designs; print the cost of the last hundred at each mark."""
    file = work / "experiment.toml"
    budget = {"rung0": designs + 50, "rung1": designs // 4, "designs": designs}
    file.write_text(EXPERIMENT.format(**budget))
    host = PluginHost()
    experiment = load_experiment(file, (), host.registry)
    executor = RecordedExecutor(workers=0)
    marks = [mark for mark in MARKS if mark <= designs]
    seen = {"accepted": 0, "started": time.perf_counter(), "last": 0.0}

    def observe(event: object) -> None:
        if getattr(event, "kind", "") != "design.accepted":
            return
        seen["accepted"] += 1
        now = time.perf_counter()
        window = min(100, int(seen["accepted"]))
        if seen["accepted"] % 100 == 0:
            if seen["accepted"] in marks:
                per_design = 1000 * (now - (seen["last"] or seen["started"])) / window
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                count = int(seen["accepted"])
                print(f"{count:7,} designs: {per_design:6.2f} ms per design, {peak:.0f} MB peak")
            seen["last"] = now

    context = RunContext(host, experiment, PreparedCorpus(str(work), 1024))
    with Store.create(work / "run", {"experiment": experiment.to_json()}) as store:
        store.curves.allocate(designs * 2)
        with store.transaction():
            store.add_event(run_started(context))
        evolution = assemble(store, context, executor, [], observe, lambda: None)
        evolution.run()
        evolution.designer.close()
    print(f"whole run: {time.perf_counter() - seen['started']:.1f} s, {executor.calls}")


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
