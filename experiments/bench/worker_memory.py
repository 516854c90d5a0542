"""Peak memory and speed of a worker at one rung, for every seed design.

    python experiments/bench/worker_memory.py [--scale 0.2M]

Goal: below 1 GB at the lowest rung.  The figure is the resident memory of the whole child, what
it shares with the warm template included.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from genesys_engine.engine.config import load_experiment
from genesys_engine.engine.run.assembly import build_corpus, open_executor
from genesys_engine.engine.run.context import Setup
from genesys_engine.engine.run.plan import Meter
from genesys_engine.gab.library import seed_names
from genesys_engine.plugins.host import PluginHost


def main() -> None:
    """Train each seed for a few steps in a real worker and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="0.2M")
    scale = parser.parse_args().scale
    host = PluginHost()
    with tempfile.TemporaryDirectory(prefix="worker-memory-") as folder:
        file = Path(folder) / "experiment.toml"
        file.write_text(f'[[ladder.rungs]]\nscale = "{scale}"\nverifications = 9\n')
        setup = Setup(host, load_experiment(file, (), host.registry))
        context = setup.on(build_corpus(setup.experiment, lambda stage: None))
        with open_executor(setup) as executor:
            meter = Meter(context, executor, Path(folder))
            for name in seed_names():
                speed = meter.speed(name, 0)
                print(
                    f"{name:8} at {scale}: {speed.peak_bytes / 2**20:5.0f} MB peak,"
                    f" {speed.tokens_per_s:7,.0f} tokens/s"
                )


if __name__ == "__main__":
    main()
