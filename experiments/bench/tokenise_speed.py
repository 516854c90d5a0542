"""Tokenise and pack: our parts against `datasets.map` with the usual grouping function.

    python experiments/bench/tokenise_speed.py [--corpus english] [--processes 2] [--repeats 3]

Both sides read the same documents with the same tokenizer and the same number of processes, and
end with packed tokens on the disk, in windows of --context for `datasets`.  They are run in turns.
Prints megabytes of text per second of wall time (median, least, most) and the ratio; the goal is
1.0.  Ours is resumable, and it is read back and compared before it counts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from genesys_engine.engine.corpus import CorpusOptions
from genesys_engine.engine.corpus.encode import Encoding, encode
from genesys_engine.engine.corpus.sources import open_source
from genesys_engine.engine.corpus.tokenizer import end_of_text, train_tokenizer
from genesys_engine.plugins.corpus import load_tokenizer

GOAL = 1.0


def ours(texts: list[str], tokenizer: Path, folder: Path, processes: int) -> int:
    """Encode with the project's parts; return the number of tokens."""
    end = end_of_text(load_tokenizer(tokenizer))
    size = sum(len(text) for text in texts)
    documents: Iterable[tuple[str, str]] = (("train", text) for text in texts)
    counts = encode(
        documents, Encoding(tokenizer, end, "<u2"), folder, size, lambda line: None, processes
    )
    return counts["train"]["tokens"]


def theirs(texts: list[str], tokenizer: Path, folder: Path, processes: int, context: int) -> int:
    """Encode with `datasets`, as the usual pre-training scripts do; return the tokens."""
    import datasets
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer), eos_token="<|endoftext|>")

    def tokenise(rows: dict[str, list[str]]) -> dict[str, Any]:
        ids = fast(rows["text"], return_attention_mask=False)["input_ids"]
        return {"input_ids": [[*each, fast.eos_token_id] for each in ids]}

    def group(rows: dict[str, list[list[int]]]) -> dict[str, Any]:
        joined = [token for each in rows["input_ids"] for token in each]
        total = len(joined) // context * context
        return {"input_ids": [joined[i : i + context] for i in range(0, total, context)]}

    data = datasets.Dataset.from_dict({"text": texts})
    tokenised = data.map(tokenise, batched=True, remove_columns=["text"], num_proc=processes)
    packed = tokenised.map(group, batched=True, num_proc=processes)
    packed.save_to_disk(str(folder / "packed"), num_proc=processes)
    return len(packed) * context


def main() -> int:
    """Read the options, measure, print; 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description="tokenise MB/s against datasets.map")
    parser.add_argument("--corpus", default="python-stdlib", help="python-stdlib or english")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--vocab-size", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # both sides use processes
    import datasets

    datasets.disable_progress_bars()
    texts = list(open_source(CorpusOptions(use=options.corpus)).documents())
    size = sum(len(text.encode()) for text in texts)
    speeds: dict[str, list[float]] = {"ours": [], "datasets": []}
    with tempfile.TemporaryDirectory() as base:
        os.environ["HF_DATASETS_CACHE"] = base
        path = Path(base) / "tokenizer.json"
        train_tokenizer(texts, options.vocab_size).save(str(path))
        for repeat in range(options.repeats):
            for name in ("ours", "datasets") if repeat % 2 else ("datasets", "ours"):
                folder = Path(base) / f"{name}-{repeat}"
                folder.mkdir()
                start = time.perf_counter()
                if name == "ours":
                    tokens = ours(texts, path, folder, options.processes)
                else:
                    tokens = theirs(texts, path, folder, options.processes, options.context)
                speeds[name].append(size / 1e6 / (time.perf_counter() - start))
                print(f"{name:9} {speeds[name][-1]:7.2f} MB/s ({tokens:,} tokens)", flush=True)
    print(f"\n{size / 1e6:.1f} MB of {options.corpus}, {options.processes} processes")
    for name, values in speeds.items():
        spread = f"{min(values):.2f} to {max(values):.2f}"
        print(f"{name:9} {statistics.median(values):7.2f} MB/s ({spread})")
    ratio = statistics.median(speeds["ours"]) / statistics.median(speeds["datasets"])
    print(f"ratio     {ratio:7.2f}; the goal is {GOAL}")
    return 0 if ratio >= GOAL else 1


if __name__ == "__main__":
    raise SystemExit(main())
