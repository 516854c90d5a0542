"""What a local model writes a minute when it answers several requests side by side.

    python experiments/bench/llm_parallel.py MODEL.gguf [--parallel 1 4 8] [--requests 8]

Asks requests of coders, spread evenly over experiments/recordings/gp_vs_direct.jsonl.xz, through
the back end `llama_cpp` with every number of `parallel`.  Prompts are kept (`cache_prompt`), as in
the study.  Prints the seconds for all of them, and the tokens that were read and written in that
time; nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from genesys_engine.plugins.api import LLMRequest
from genesys_engine.plugins.llm.llama_cpp import LlamaCppBackend, LlamaCppOptions
from genesys_engine.plugins.llm.recording import read_recording

RECORDING = Path(__file__).parents[1] / "recordings" / "gp_vs_direct.jsonl.xz"
DEADLINE_S = 3600.0


def main() -> None:
    """Ask the same requests in every way and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--parallel", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--requests", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    requests = _requests(asked.requests)
    for parallel in asked.parallel:
        options = LlamaCppOptions(
            path=str(asked.model),
            cache_prompt=True,
            threads=asked.threads,
            parallel=parallel,
        )
        seconds, read, written = _ask(options, requests)
        print(
            f"parallel {parallel:2}  {seconds:7.1f} s  {read} tokens read, {written} written",
            flush=True,
        )


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


def _ask(options: LlamaCppOptions, requests: list[LLMRequest]) -> tuple[float, int, int]:
    """Return the seconds for all replies, the tokens of prompts and of replies.

    Loading the model is not counted.
    """
    backend = LlamaCppBackend(options)
    backend.complete(LLMRequest((("user", "Say yes."),), max_tokens=1, deadline_s=DEADLINE_S))
    started = time.perf_counter()
    with ThreadPoolExecutor(options.parallel) as pool:
        replies = list(pool.map(backend.complete, requests))
    seconds = time.perf_counter() - started
    backend.close()
    read = sum(reply.input_tokens or 0 for reply in replies)
    return seconds, read, sum(reply.output_tokens or 0 for reply in replies)


if __name__ == "__main__":
    main()
