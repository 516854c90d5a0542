"""Each seed's training speed as a ratio to the GPT seed, at one scale and context, on the CPU.

    python experiments/bench/seed_speed.py [--scale 1M] [--context 512] [--repeats 5]

All seeds are brought to the size of the scale and take the same training steps (forward, backward,
AdamW), in turns in one process.  Prints tokens per second of CPU time and the ratio; the goal is
that no seed is below 0.3.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time

import torch
import torch.nn.functional as F

from genesys_engine.gab.compose import compose, load_block
from genesys_engine.gab.library import seed, seed_names
from genesys_engine.gab.model import LanguageModel
from genesys_engine.gab.scales import fit_scale, get_scale

GOAL = 0.3


def make(name: str, scale_name: str, context: int, vocab_size: int) -> LanguageModel:
    """Return a seed's model at a scale, with another context."""
    block = load_block(compose(seed(name)))
    config = fit_scale(block, get_scale(scale_name), vocab_size).config
    return LanguageModel(block, dataclasses.replace(config, context=context))


def seconds_of(model: LanguageModel, inputs: torch.Tensor, steps: int) -> float:
    """Return the CPU seconds of some training steps, after one that warms up."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    start = 0.0
    for step in range(steps + 1):
        if step == 1:
            start = time.process_time()
        logits = model(inputs[:, :-1])
        F.cross_entropy(logits.flatten(0, 1), inputs[:, 1:].flatten()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return time.process_time() - start


def main() -> int:
    """Read the options, measure, print; 1 if a seed is below the goal."""
    parser = argparse.ArgumentParser(description="training speed of the seeds against gpt")
    parser.add_argument("--scale", default="1M")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--batch", type=int, default=4, help="sequences per step")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--vocab-size", type=int, default=1024)
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = ["gpt", *(name for name in seed_names() if name != "gpt")]
    models = {
        name: make(name, options.scale, options.context, options.vocab_size) for name in names
    }
    generator = torch.Generator().manual_seed(0)
    shape = (options.batch, options.context + 1)
    inputs = torch.randint(options.vocab_size, shape, generator=generator)
    tokens = options.steps * options.batch * options.context
    speeds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(options.repeats):
        for name in names:
            speeds[name].append(tokens / seconds_of(models[name], inputs, options.steps))
    lowest = float("inf")
    print(f"{options.scale}, context {options.context}, {options.batch} sequences per step")
    for name in names:
        pairs = zip(speeds[name], speeds["gpt"], strict=True)
        ratio = statistics.median(mine / gpt for mine, gpt in pairs)
        lowest = min(lowest, ratio)
        print(
            f"{name:8} {statistics.median(speeds[name]):9,.0f} tokens per CPU second, "
            f"{ratio:.3f} of gpt"
        )
    print(f"lowest   {lowest:.3f}; the goal is {GOAL}")
    return 0 if lowest >= GOAL else 1


if __name__ == "__main__":
    raise SystemExit(main())
