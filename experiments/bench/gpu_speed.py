"""Training on a GPU: tokens/s, share of the peak (MFU), peak memory; xformers against SDPA.

    python experiments/bench/gpu_speed.py [--seeds gpt mamba2] [--scales 125M 350M]

Needs CUDA; without it, it says so and ends with exit code 4.  For each seed and scale the trainer's
own step (bfloat16 autocast, fused AdamW, torch.compile unless --no-compile) is timed against a bare
compiled loop of the same model.  MFU counts 6 FLOPs per parameter and token (the embedding counts
once, as the head) and 12 n_blocks d_model T per token for causal attention at half of T, as in
Chowdhery et al. 2022 (arXiv 2204.02311, appendix B), against the dense bfloat16 peak of the card.
The goals: 45 % for gpt at 350M, 0.97 of the bare loop, and xformers and SDPA within 2e-3 in
bfloat16.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from genesys_engine.gab.compose import compose, load_block
from genesys_engine.gab.errors import EXIT_ENVIRONMENT
from genesys_engine.gab.library import seed
from genesys_engine.gab.model import LanguageModel
from genesys_engine.gab.scales import fit_scale, get_scale
from genesys_engine.plugins.api import TrainBudget
from genesys_engine.plugins.corpus import Batch
from genesys_engine.plugins.trainers.options import TorchTrainerOptions
from genesys_engine.plugins.trainers.recipe import make_optimizer
from genesys_engine.plugins.trainers.stepping import Stepper
from genesys_engine.plugins.trainers.team import Team

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""Dense bfloat16 FLOP/s by a part of the card's name, from the makers' data sheets."""
GOALS = {"bare": 0.97, "mfu": 0.45, "attention": 2e-3}


def make(name: str, scale_name: str, context: int, vocab_size: int) -> LanguageModel:
    """Return a seed's model at a scale, on the GPU."""
    block = load_block(compose(seed(name)))
    config = fit_scale(block, get_scale(scale_name), vocab_size).config
    return LanguageModel(block, dataclasses.replace(config, context=context)).cuda()


def tokens_per_second(step: Callable[[], Any], tokens: int, steps: int) -> float:
    """Return the median speed of a step, after some that warm up."""
    for _ in range(5):
        step()
    speeds = []
    for _ in range(steps):
        torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        speeds.append(tokens / (time.perf_counter() - start))
    return float(np.median(speeds))


def trainer_step(model: LanguageModel, batch: Batch, compiled: bool) -> Callable[[], Any]:
    """Return the trainer's own step."""
    # AdamW, as the bare loop has it: what is compared is the loop.
    options = TorchTrainerOptions(recipe="published", compile="always" if compiled else "never")
    optimizer = make_optimizer(model, TrainBudget(1, 1, 1e-4, 0), options)
    stepper = Stepper(model, optimizer, options, torch.device("cuda"), Team())
    return lambda: stepper.step(batch, 1.0)


def bare_step(model: LanguageModel, batch: Batch, compiled: bool) -> Callable[[], Any]:
    """Return the step of a bare loop on a batch that lies on the GPU."""
    inputs, targets = torch.tensor(batch.inputs).cuda(), torch.tensor(batch.targets).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    forward = torch.compile(model) if compiled else model

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            logits = forward(inputs)
        F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten()).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def flops_per_token(model: LanguageModel) -> float:
    """Return the FLOPs of a training step per token."""
    config = model.config
    parameters = sum(p.numel() for p in model.parameters())
    return 6.0 * parameters + 6.0 * config.n_blocks * config.d_model * config.context


def attention_difference() -> float | None:
    """Return the largest difference of xformers and SDPA in bfloat16; None without xformers."""
    try:
        from xformers.ops import LowerTriangularMask, memory_efficient_attention
    except ImportError:
        return None
    generator = torch.Generator("cuda").manual_seed(0)
    shape = (3, 4, 8, 1024, 64)  # q, k, v; batch, heads, positions, head
    q, k, v = torch.randn(shape, generator=generator, device="cuda", dtype=torch.bfloat16)
    ours = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    theirs = memory_efficient_attention(
        *(part.transpose(1, 2) for part in (q, k, v)), attn_bias=LowerTriangularMask()
    ).transpose(1, 2)
    # Relative to the size of the values, since one place of bfloat16 is 1/256 of them.
    return float((ours - theirs).float().norm() / ours.float().norm())


def measure(name: str, scale: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return what one seed does at one scale."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(options.vocab_size, size=(options.batch, options.context + 1))
    batch = Batch(tokens[:, :-1], tokens[:, 1:], np.ones((options.batch, options.context), bool))
    found: dict[str, Any] = {"seed": name, "scale": scale}
    for kind, make_step in (("trainer", trainer_step), ("bare", bare_step)):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        model = make(name, scale, options.context, options.vocab_size)
        step = make_step(model, batch, not options.no_compile)
        speed = tokens_per_second(step, tokens[:, 1:].size, options.steps)
        found[f"{kind}_tokens_per_s"] = round(speed)
        found[f"{kind}_peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        if kind == "trainer" and (peak := _peak()):
            found["mfu"] = round(speed * flops_per_token(model) / peak, 4)
        del model, step
    found["ratio"] = round(found["trainer_tokens_per_s"] / found["bare_tokens_per_s"], 4)
    return found


def _peak() -> float | None:
    name = torch.cuda.get_device_name()
    return next((peak for part, peak in PEAKS.items() if part in name), None)


def main() -> int:
    """Read the options, measure, print a line of JSON for each case."""
    parser = argparse.ArgumentParser(description="training speed on a GPU")
    parser.add_argument("--seeds", nargs="+", default=["gpt", "mamba2"])
    parser.add_argument("--scales", nargs="+", default=["125M", "350M"])
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=8, help="sequences per step")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--vocab-size", type=int, default=32_000)
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("this benchmark needs CUDA, and PyTorch finds no device here", file=sys.stderr)
        return EXIT_ENVIRONMENT
    print(json.dumps({"device": torch.cuda.get_device_name(), "torch": torch.__version__}))
    difference = attention_difference()
    print(json.dumps({"xformers_against_sdpa": difference, "goal": GOALS["attention"]}))
    for scale in options.scales:
        for name in options.seeds:
            print(json.dumps(measure(name, scale, options)), flush=True)
    print(json.dumps({"goals": GOALS}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
