"""Peak memory and speed of a worker at one rung, for every seed design.

    python experiments/bench/worker_memory.py [--scale 0.2M]

Goal: below 1 GB at the lowest rung.  The figure is the resident memory of the whole child, what
it shares with the warm template included.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from genesys_engine.engine.common.records import to_json
from genesys_engine.engine.evaluate.verification import TRAIN
from genesys_engine.engine.evaluate.verifier import verification_job
from genesys_engine.engine.jobs.facts import number
from genesys_engine.engine.run.assembly import build_corpus, load, open_executor
from genesys_engine.gab import library
from genesys_engine.gab.compose import compose, load_block
from genesys_engine.gab.scales import fit_scale, get_scale

STEPS = 12


def main() -> None:
    """Train each seed for a few steps in a real worker and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="0.2M")
    scale = get_scale(parser.parse_args().scale)
    with tempfile.TemporaryDirectory(prefix="worker-memory-") as folder:
        file = Path(folder) / "experiment.toml"
        file.write_text(f'[[ladder.rungs]]\nscale = "{scale.name}"\nverifications = 9\n')
        setup = load(file, ())
        context = setup.on(build_corpus(setup.experiment, lambda stage: None))
        batch = context.rungs[0].batch_tokens
        with open_executor(setup) as executor:
            for name in library.seed_names():
                source = compose(library.seed(name))
                fit = fit_scale(load_block(source), scale, context.corpus.vocab_size)
                job = verification_job(context.verify, source, fit.config, 0, 0)
                asked = to_json(job.with_budget(STEPS * batch, batch).training)
                scratch = Path(folder) / name
                scratch.mkdir()
                limits = context.verify.limits_for(passed=True)
                outcome = executor.submit(TRAIN, asked, scratch, limits).result()
                if outcome.status != "ok" or outcome.value is None:
                    raise SystemExit(f"{name}: {outcome.status}: {outcome.reason}")
                peak = number(outcome.facts, "max_rss_bytes")
                speed = outcome.value["facts"]["tokens_per_s"]
                print(f"{name:18} {peak / 2**20:5.0f} MB peak, {speed:7,.0f} tokens/s")


if __name__ == "__main__":
    main()
