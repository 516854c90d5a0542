"""Training speed: the GPT seed in our trainer against a bare PyTorch loop of the same model.

    python experiments/bench/training_speed.py [--scale 0.2M] [--tokens 80000] [--repeats 7]

Both loops start from equal weights, use fused AdamW and batches of the same shape, and are run
in turns in one process; the bare loop trains on one batch that lies ready and does nothing
else.  Prints tokens per second of CPU time (median, least, most), which other processes on the
machine disturb less than wall time, and the ratio of each pair; the goal is 0.97.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from genesys_engine.engine.corpus import CorpusOptions, prepare
from genesys_engine.gab.compose import compose, load_block
from genesys_engine.gab.library import seed
from genesys_engine.gab.model import LanguageModel
from genesys_engine.gab.scales import fit_scale, get_scale
from genesys_engine.plugins.api import TrainBudget
from genesys_engine.plugins.corpus import Batch, Corpus
from genesys_engine.plugins.trainers.options import TorchTrainerOptions
from genesys_engine.plugins.trainers.pytorch import TorchTrainer

GOAL = 0.97


def bare_loop(model: LanguageModel, batch: Batch, steps: int) -> None:
    """Train on one ready batch, with nothing that PyTorch does not need."""
    inputs, targets = torch.tensor(batch.inputs), torch.tensor(batch.targets).flatten()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    for _ in range(steps):
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def measure(corpus: Corpus, scale_name: str, tokens: int, repeats: int) -> dict[str, list[float]]:
    """Return tokens per second of each loop, one value per repeat."""
    scale = get_scale(scale_name)
    block = load_block(compose(seed("gpt")))
    config = fit_scale(block, scale, corpus.vocab_size).config
    rows = max(1, scale.batch_tokens // config.context)
    steps = max(1, tokens // (rows * config.context))
    budget = TrainBudget(steps * rows * config.context, rows * config.context, scale.peak_lr, 0)
    trainer = TorchTrainer(TorchTrainerOptions(device="cpu"))
    batch = next(corpus.batches(0, rows, config.context))
    speeds: dict[str, list[float]] = {"trainer": [], "bare": []}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(repeats + 1):
            for name in ("trainer", "bare") if repeat % 2 else ("bare", "trainer"):
                model = LanguageModel(block, config)
                start = time.process_time()
                if name == "bare":
                    bare_loop(model, batch, steps)
                    taken = steps
                else:
                    taken = trainer.train(model, corpus, budget, Path(folder) / "model").steps
                if repeat:  # the first round warms up
                    positions = taken * rows * config.context
                    speeds[name].append(positions / (time.process_time() - start))
    return speeds


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description="training tokens/s against a bare loop")
    parser.add_argument("--scale", default="0.2M")
    parser.add_argument("--tokens", type=int, default=80_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as cache:
        corpus = Corpus.open(prepare(CorpusOptions(), Path(cache)))
        speeds = measure(corpus, options.scale, options.tokens, options.repeats)
    for name, values in speeds.items():
        median = statistics.median(values)
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        print(f"{name:8} {median:10,.0f} tokens per CPU second ({spread})")
    ratios = [a / b for a, b in zip(speeds["trainer"], speeds["bare"], strict=True)]
    ratio = statistics.median(ratios)
    print(f"ratio    {ratio:10.3f} ({min(ratios):.3f} to {max(ratios):.3f}); the goal is {GOAL}")


if __name__ == "__main__":
    main()
