"""What a recipe teaches: held-out bits per byte of each seed, recipe next to recipe, in one run.

    python experiments/bench/recipe_sweep.py [--scales 0.2M 1M] [--tokens 131072 196608]
        [--batch-tokens 512] [--seeds gpt mamba2 ...] [--repeats 1] [--vary matrix_lr 0.02 0.045]

Trains with the published recipe (AdamW), with the measured one, and with the measured one cut to
the CPU seconds that the published one took, on equal data in equal order, one thread each.  With
--vary the measured recipe is trained once more for every value of one of its options.  Prints bits
per byte, CPU seconds and what is gained over the published recipe at equal tokens and at equal CPU
seconds; with --repeats, over that many training seeds, means and the standard error.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from genesys_engine.engine.corpus import CorpusOptions, prepare
from genesys_engine.gab.compose import compose, load_block
from genesys_engine.gab.library import design_names, seed_names
from genesys_engine.gab.library import seed as seed_design
from genesys_engine.gab.model import LanguageModel
from genesys_engine.gab.scales import fit_scale, get_scale
from genesys_engine.plugins.api import TrainBudget
from genesys_engine.plugins.corpus import Corpus
from genesys_engine.plugins.evaluators.heldout import METRIC, HeldoutEvaluator
from genesys_engine.plugins.evaluators.options import HeldoutOptions
from genesys_engine.plugins.trainers.options import TorchTrainerOptions
from genesys_engine.plugins.trainers.pytorch import TorchTrainer

VOCABULARY = 1024
WINDOWS = 256


@dataclass(frozen=True)
class Side:
    """One recipe by name, with the options of the trainer."""

    name: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Trained:
    """Held-out bits per byte, and the CPU seconds of the training alone."""

    bits: float
    cpu_s: float


def train(
    corpus: Corpus, design: str, scale: str, side: Side, budget: TrainBudget, folder: Path
) -> Trained:
    """Train a seed from scratch and score it."""
    at = get_scale(scale)
    block = load_block(compose(seed_design(design)))
    model = LanguageModel(block, fit_scale(block, at, corpus.vocab_size).config, seed=budget.seed)
    trainer = TorchTrainer(TorchTrainerOptions(device="cpu", **side.options))
    start = time.process_time()
    trainer.train(model, corpus, budget, folder / "model.safetensors")
    cpu_s = time.process_time() - start
    score = HeldoutEvaluator(HeldoutOptions(windows=WINDOWS)).evaluate(model, corpus)[METRIC]
    return Trained(score.value, cpu_s)


def compare(
    corpus: Corpus, design: str, scale: str, sides: list[Side], budget: TrainBudget
) -> Iterator[tuple[str, Trained]]:
    """Yield every side at equal tokens, and the measured recipe at the first side's CPU seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder, found = Path(name), {}
        for side in sides:
            found[side.name] = train(corpus, design, scale, side, budget, folder)
            yield side.name, found[side.name]
        share = found["published"].cpu_s / found["measured"].cpu_s
        less = TrainBudget(
            int(budget.tokens * min(share, 1.0)), budget.batch_tokens, budget.peak_lr, budget.seed
        )
        yield "measured, equal CPU s", train(corpus, design, scale, sides[1], less, folder)


def show(design: str, scale: str, rows: dict[str, list[Trained]]) -> None:
    """Print a line per side, with the gain over the published recipe, paired by seed."""
    base = rows["published"]
    for name, trained in rows.items():
        gains = [one.bits - other.bits for one, other in zip(base, trained, strict=True)]
        error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else None
        spread = "" if error is None else f" +- {error:.3f}"
        bits = statistics.fmean(one.bits for one in trained)
        seconds = statistics.fmean(one.cpu_s for one in trained)
        gain = f"{statistics.fmean(gains):+.3f}{spread}" if name != "published" else ""
        print(f"| {scale} | {design} | {name} | {bits:.3f} | {seconds:.1f} | {gain} |", flush=True)


def main() -> None:
    """Read the options, train, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scales", nargs="+", default=["0.2M", "1M"])
    parser.add_argument("--tokens", nargs="+", type=int, default=[131_072, 196_608])
    parser.add_argument("--batch-tokens", type=int, default=512)
    parser.add_argument("--seeds", nargs="+", default=list(seed_names()), choices=design_names())
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--vary", nargs="+", metavar=("OPTION", "VALUE"), default=[])
    options = parser.parse_args()
    if len(options.tokens) != len(options.scales):
        parser.error("give as many --tokens as --scales")
    torch.set_num_threads(1)
    sides = [Side("published", {"recipe": "published"}), Side("measured", {})]
    sides += [Side(f"{options.vary[0]} = {v}", {options.vary[0]: json.loads(v)})
              for v in options.vary[1:]]  # fmt: skip
    print("| scale | seed | recipe | bits per byte | CPU s | lower than published by |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as cache:
        corpus = Corpus.open(prepare(CorpusOptions(vocab_size=VOCABULARY), Path(cache)))
        for scale, tokens in zip(options.scales, options.tokens, strict=True):
            for design in options.seeds:
                rows: dict[str, list[Trained]] = {}
                for repeat in range(options.repeats):
                    peak = get_scale(scale).peak_lr
                    budget = TrainBudget(tokens, options.batch_tokens, peak, repeat)
                    for name, trained in compare(corpus, design, scale, sides, budget):
                        rows.setdefault(name, []).append(trained)
                show(design, scale, rows)


if __name__ == "__main__":
    main()
