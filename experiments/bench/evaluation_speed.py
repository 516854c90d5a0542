"""Evaluation: items per second of our lm-eval model against lm-eval's own HFLM, on one model.

    python experiments/bench/evaluation_speed.py [--scale 1M] [--vocabulary 2048] [--items 200]
        [--rounds 3]

Both sides score the same items of the same exported model in one process, in turns, with one
thread; HFLM gets the best of three batch sizes.  Their likelihoods are compared first: a faster
wrong answer would be no answer.  Goal: at least 1.5.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}

BATCHES = (8, 32, 64)


def main() -> None:
    """Print both sides and their ratio as JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--scale", default="1M")
    options.add_argument("--vocabulary", type=int, default=2048)
    options.add_argument("--items", type=int, default=200)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="genesys-bench-") as folder:
        os.environ["HF_HOME"] = f"{folder}/huggingface"
        asked = (chosen.scale, chosen.vocabulary, chosen.items, chosen.rounds)
        print(json.dumps(measure(Path(folder), *asked), indent=1))


def measure(folder: Path, scale: str, vocabulary: int, count: int, rounds: int) -> dict[str, Any]:
    """Return items/s of both sides (median over rounds) and the largest difference."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from genesys_engine.plugins.evaluators.lm_eval_model import CorpusLM
    from genesys_engine.plugins.evaluators.options import LmEvalOptions

    model, corpus = export(folder, scale, vocabulary)
    items = tasks(corpus, count)
    ours = CorpusLM(model, corpus, LmEvalOptions().batch_tokens)
    theirs = {
        size: HFLM(str(folder / "model"), trust_remote_code=True, device="cpu", batch_size=size)
        for size in BATCHES
    }
    requests = [
        Instance("loglikelihood", {}, (item["context"], choice), index)
        for index, item in enumerate(items)
        for choice in item["choices"]
    ]
    difference = largest_difference(ours.loglikelihood(requests), theirs[8].loglikelihood(requests))
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, lm in (("ours", ours), *((f"hflm_{size}", lm) for size, lm in theirs.items())):
            begun = time.perf_counter()
            lm.loglikelihood(requests)
            seconds.setdefault(name, []).append(time.perf_counter() - begun)
    speed = {name: len(items) / statistics.median(took) for name, took in seconds.items()}
    best = max(value for name, value in speed.items() if name != "ours")
    return {
        "scale": scale,
        "vocabulary": corpus.vocab_size,
        "items": len(items),
        "likelihoods": len(requests),
        "items_per_s": {name: round(value, 1) for name, value in speed.items()},
        "ratio_to_the_best_hflm": round(speed["ours"] / best, 2),
        "largest_difference_nats": difference,
    }


def export(folder: Path, scale: str, vocabulary: int) -> tuple[Any, Any]:
    """Export an untrained gpt at `scale`; return our own model and the corpus."""
    from genesys_engine.engine.corpus import CorpusOptions, prepare
    from genesys_engine.engine.export.write import write_model
    from genesys_engine.gab import library
    from genesys_engine.gab.compose import compose, load_block
    from genesys_engine.gab.model import LanguageModel
    from genesys_engine.gab.scales import fit_scale, get_scale
    from genesys_engine.plugins.checkpoint import save_checkpoint
    from genesys_engine.plugins.corpus import Corpus

    options = CorpusOptions(max_bytes=2_000_000, vocab_size=vocabulary)
    corpus = Corpus.open(prepare(options, folder / "corpora"))
    source = compose(library.seed("gpt"))
    fit = fit_scale(load_block(source), get_scale(scale), corpus.vocab_size)
    model = LanguageModel(load_block(source), fit.config, seed=1).eval()
    (folder / "model").mkdir()
    save_checkpoint(model, folder / "weights.safetensors")
    write_model(folder / "model", folder / "weights.safetensors", source, fit.config, corpus)
    return model, corpus


def tasks(corpus: Any, count: int) -> list[dict[str, Any]]:
    """Return `count` items of each kind: continuations of four choices, and minimal pairs."""
    from genesys_engine.plugins.evaluators.lm_eval import local_items
    from genesys_engine.plugins.evaluators.minimal_pairs import PHENOMENA
    from genesys_engine.plugins.evaluators.task_names import Task

    pairs = [
        item for name in PHENOMENA for item in local_items(Task(name, "minimal_pairs"), corpus)
    ]
    return [*local_items(Task("continuation"), corpus)[:count], *pairs[:count]]


def largest_difference(
    ours: Sequence[tuple[float, bool]], theirs: Sequence[tuple[float, bool]]
) -> float:
    """Return the largest difference of two lists of likelihoods in nats."""
    return max(abs(a[0] - b[0]) for a, b in zip(ours, theirs, strict=True))


if __name__ == "__main__":
    main()
