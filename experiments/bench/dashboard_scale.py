"""The dashboard over a run of 10,000 designs: time to the first paint, and the server's memory.

    python experiments/bench/dashboard_scale.py [--designs 10000] [--run FOLDER]

Makes the run as `engine_cost.py` does (training is answered from a record; all else is real) unless
it is given one, serves it by the real command, and opens it in headless Chromium, twice: cold, as
soon as the address is printed, and warm.  Prints the first paint, when the first screen, the tree
and the leaderboard are filled, and the processor seconds and peak memory of the server.  Goals:
first paint below 1 s, memory below 300 MB.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from engine_cost import EXPERIMENT

from genesys_engine.engine.config import load_experiment
from genesys_engine.engine.corpus.prepared import PreparedCorpus
from genesys_engine.engine.run.assembly import assemble
from genesys_engine.engine.run.context import RunContext
from genesys_engine.engine.run.lifecycle import run_started
from genesys_engine.engine.store.run_store import Store
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.testing.recorded import RecordedExecutor

PATIENCE_MS = 120_000
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
FILLED = "performance.getEntriesByName('filled')[0]?.startTime"


def main() -> None:
    """Make or take a run, serve it, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--designs", type=int, default=10_000)
    parser.add_argument("--run", type=Path, help="a run that exists")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="dashboard-scale-"))
    try:
        run = options.run or make(work, options.designs)
        measure(run)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def make(work: Path, designs: int) -> Path:
    """Evolve `designs` designs with recorded scores, and return the run's folder."""
    file = work / "experiment.toml"
    budget = {"rung0": designs + 50, "rung1": designs // 4, "designs": designs}
    file.write_text(EXPERIMENT.format(**budget))
    host = PluginHost()
    experiment = load_experiment(file, (), host.registry)
    context = RunContext(host, experiment, PreparedCorpus(str(work), 1024))
    meta = {"name": experiment.run.name, "experiment": experiment.to_json(), "corpus": {}}
    with Store.create(work / "run", meta, file.read_bytes()) as store:
        store.curves.allocate(designs * 2)
        with store.transaction():
            store.add_event(run_started(context))
        executor = RecordedExecutor(workers=0, accuracy=0.25)
        evolution = assemble(store, context, executor, [], lambda event: None, lambda: None)
        evolution.run()
        evolution.designer.close()
    return work / "run"


def measure(run: Path) -> None:
    """Serve a run and open it twice."""
    from playwright.sync_api import sync_playwright

    with Store.open(run) as store:
        counts = ", ".join(
            f"{store.count(t):,} {t}" for t in ("designs", "verifications", "events")
        )
    print(f"run: {counts}")
    command = [sys.executable, "-m", "genesys_engine", "dashboard", str(run), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        key = run.name
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            for name in ("cold", "warm"):
                print(f"{name}: {opened(chromium, f'{address}#/run/{key}')}")
                print(f"      server so far: {used(server.pid)}")
            chromium.close()
    finally:
        server.terminate()
        server.wait(20)


def opened(chromium: Any, address: str) -> str:
    """Open the page in a new profile; return when it was painted and when it was filled."""
    profile = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = profile.new_page()
    page.goto(address)
    page.set_default_timeout(PATIENCE_MS)
    page.locator("canvas[data-designs]").wait_for()
    page.locator(".board tbody tr").first.wait_for()
    while page.evaluate(FILLED) is None:  # the page's policy keeps Playwright from waiting in it
        page.wait_for_timeout(20)
    paint, filled = page.evaluate(f"[{PAINT}, {FILLED}]")
    rows = page.locator(".board tbody tr").count()
    drawn = page.locator("canvas").get_attribute("data-designs")
    profile.close()
    return f"first paint {paint:.0f} ms, filled {filled:.0f} ms ({drawn} designs, {rows} rows)"


def used(pid: int) -> str:
    """Return the processor seconds and the peak memory of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    seconds = (int(fields[11]) + int(fields[12])) / 100
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]
    return f"{seconds:.1f} s of processor, {int(peak) / 1024:.0f} MB peak"


if __name__ == "__main__":
    main()
