"""What a local model writes a minute when it answers several requests side by side.

    python experiments/bench/llm_parallel.py MODEL.gguf [--ways 1x1 1x4 1x8 2x4] [--requests 8]

Asks requests of coders, spread evenly over experiments/recordings/gp_vs_direct.jsonl.xz, through
the back end `llama_cpp`: "2x4" are two processes which share the requests and the threads, and
answer four requests at once each.  Prompts are kept (`cache_prompt`), as in the study.  Prints the
seconds for all of them, and the tokens that were read and written in that time; nothing else should
run meanwhile.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from genesys_engine.plugins.api import LLMRequest
from genesys_engine.plugins.llm.llama_cpp import LlamaCppBackend, LlamaCppOptions
from genesys_engine.plugins.llm.recording import read_recording

RECORDING = Path(__file__).parents[1] / "recordings" / "gp_vs_direct.jsonl.xz"
DEADLINE_S = 3600.0


class Way(NamedTuple):
    """How many processes load the model, and what each of them answers at once."""

    processes: int
    parallel: int


WAYS = [Way(1, 1), Way(1, 4), Way(1, 8), Way(2, 4)]


def main() -> None:
    """Ask the same requests in every way and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--ways", type=_way, nargs="+", default=WAYS)
    parser.add_argument("--requests", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2, help="of all processes together")
    asked = parser.parse_args()
    requests = _requests(asked.requests)
    for way in asked.ways:
        seconds, read, written = _measure(asked.model, way, asked.threads, requests)
        print(
            f"{way.processes} x {way.parallel:2}  {seconds:7.1f} s  {read} tokens read,"
            f" {written} written, {written / seconds:.1f} a second",
            flush=True,
        )


def _way(text: str) -> Way:
    processes, _, parallel = text.partition("x")
    return Way(int(processes), int(parallel))


def _requests(count: int) -> list[LLMRequest]:
    """Return requests of coders, spread over the recording."""
    calls = [call["request"] for call in read_recording(RECORDING) if call["role"] == "coder"]
    return [
        LLMRequest(
            tuple((role, text) for role, text in call["messages"]),
            max_tokens=call["max_tokens"],
            temperature=call["temperature"],
            seed=call["seed"],
            schema=call["schema"],
            deadline_s=DEADLINE_S,
        )
        for call in calls[:: max(1, len(calls) // count)][:count]
    ]


def _measure(
    model: Path, way: Way, threads: int, requests: Sequence[LLMRequest]
) -> tuple[float, int, int]:
    """Return the seconds for all replies, the tokens of prompts and of replies.

    Loading the model is not counted.
    """
    options = LlamaCppOptions(
        path=str(model),
        cache_prompt=True,
        threads=max(1, threads // way.processes),
        parallel=way.parallel,
    )
    spawn = multiprocessing.get_context("spawn")
    pools = [
        ProcessPoolExecutor(1, spawn, initializer=_load, initargs=(options,))
        for _ in range(way.processes)
    ]
    for ready in [pool.submit(_answer, []) for pool in pools]:
        ready.result()
    started = time.perf_counter()
    parts = [
        pool.submit(_answer, requests[number :: way.processes]) for number, pool in enumerate(pools)
    ]
    tokens = [part.result() for part in parts]
    seconds = time.perf_counter() - started
    for pool in pools:
        pool.shutdown()
    return seconds, sum(read for read, _ in tokens), sum(written for _, written in tokens)


def _load(options: LlamaCppOptions) -> None:
    """Load the model into this process, for `_answer`."""
    global _backend
    _backend = LlamaCppBackend(options)
    _backend.complete(LLMRequest((("user", "Say yes."),), max_tokens=1, deadline_s=DEADLINE_S))


def _answer(requests: Sequence[LLMRequest]) -> tuple[int, int]:
    """Return the tokens read and written for some requests."""
    with ThreadPoolExecutor(_backend.options.parallel) as pool:
        replies = list(pool.map(_backend.complete, requests))
    read = sum(reply.input_tokens or 0 for reply in replies)
    return read, sum(reply.output_tokens or 0 for reply in replies)


_backend: LlamaCppBackend


if __name__ == "__main__":
    main()
