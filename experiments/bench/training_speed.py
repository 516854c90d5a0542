"""Training speed: the GPT seed in our trainer, in a bare PyTorch loop, in transformers.Trainer.

    python experiments/bench/training_speed.py [--scales 1M 4M] [--tokens 65536] [--repeats 5]
        [--compile]

All start from equal weights, use fused AdamW (`recipe = "published"`) and batches of the same
shape, and are run in turns in one process; the bare loop trains on one batch that lies ready and
does nothing else.  Prints tokens per second of CPU time (median, least, most), which other
processes on the machine disturb less than wall time, and the ratio of each pair of neighbouring
runs.  The goals: at least 0.97 of the bare loop, at least 1.2 of transformers.Trainer.

With --compile our trainer is run once more with `compile = "always"`; the first round compiles,
and what it took more than the others is printed apart (without the processes of the C++ compiler).
The two other loops are never compiled.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
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
from genesys_engine.plugins.trainers.hf import HfTrainer
from genesys_engine.plugins.trainers.options import TorchTrainerOptions, TrainerOptions
from genesys_engine.plugins.trainers.pytorch import TorchTrainer

GOALS = {"bare": 0.97, "hf": 1.2}
OURS = {"trainer": "never", "compiled": "always"}  # name -> option `compile`


def bare_loop(model: LanguageModel, batch: Batch, steps: int) -> None:
    """Train on one ready batch, with nothing that PyTorch does not need."""
    inputs, targets = torch.tensor(batch.inputs), torch.tensor(batch.targets).flatten()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    for _ in range(steps):
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def measure(
    corpus: Corpus,
    scale_name: str,
    tokens: int,
    batch_tokens: int | None,
    repeats: int,
    ours: Sequence[str],
) -> dict[str, list[float]]:
    """Return tokens per second of each loop, one value per repeat; the first round warms up."""
    scale = get_scale(scale_name)
    block = load_block(compose(seed("gpt")))
    config = fit_scale(block, scale, corpus.vocab_size).config
    rows = max(1, (batch_tokens or scale.batch_tokens) // config.context)
    steps = max(1, tokens // (rows * config.context))
    budget = TrainBudget(steps * rows * config.context, rows * config.context, scale.peak_lr, 0)
    trainers: dict[str, TorchTrainer | HfTrainer] = {
        name: TorchTrainer(
            TorchTrainerOptions(recipe="published", device="cpu", compile=OURS[name])
        )
        for name in ours
    }
    trainers["hf"] = HfTrainer(TrainerOptions(recipe="published", device="cpu"))
    batch = next(corpus.batches(0, rows, config.context))
    speeds: dict[str, list[float]] = {name: [] for name in (*trainers, "bare")}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(repeats + 1):
            for name in sorted(speeds, reverse=bool(repeat % 2)):
                model = LanguageModel(block, config)
                start = time.process_time()
                if name == "bare":
                    bare_loop(model, batch, steps)
                    taken = steps
                else:
                    path = Path(folder) / "model"
                    result = trainers[name].train(model, corpus, budget, path)
                    taken = result.steps
                    if name == "compiled" and result.facts["compiled"] != "yes":
                        raise SystemExit(f"not compiled: {result.facts['compiled']}")
                positions = taken * rows * config.context
                speeds[name].append(positions / (time.process_time() - start))
    if "compiled" in speeds:
        first, *later = (positions / speed for speed in speeds["compiled"])
        print(f"compiling took {first - statistics.median(later):.0f} s of processor time")
    return {name: values[1:] for name, values in speeds.items()}


def report(scale: str, speeds: dict[str, list[float]], ours: Sequence[str]) -> bool:
    """Print both sides; return whether the goals are met."""
    print(f"\n{scale}")
    for name, values in speeds.items():
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        print(f"{name:8} {statistics.median(values):10,.0f} tokens per CPU second ({spread})")
    met = True
    for name in ours:
        for other, goal in GOALS.items():
            ratios = [a / b for a, b in zip(speeds[name], speeds[other], strict=True)]
            ratio = statistics.median(ratios)
            met = met and ratio >= goal
            spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
            print(f"{name:8} / {other:4} {ratio:.3f} ({spread}); the goal is {goal}")
    return met


def main() -> int:
    """Read the options, measure, print; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description="training tokens/s against two other loops")
    parser.add_argument("--scales", nargs="+", default=["1M", "4M"])
    parser.add_argument("--tokens", type=int, default=65_536)
    parser.add_argument("--batch-tokens", type=int, default=None, help="default: the scale's")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="our trainer compiled, too")
    options = parser.parse_args()
    ours = list(OURS) if options.compile else ["trainer"]
    torch.set_num_threads(options.threads)
    met = True
    with tempfile.TemporaryDirectory() as cache:
        corpus = Corpus.open(prepare(CorpusOptions(), Path(cache)))
        for scale in options.scales:
            asked = (options.tokens, options.batch_tokens, options.repeats, ours)
            met = report(scale, measure(corpus, scale, *asked), ours) and met
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
