"""nanoGPT's published recipe for a CPU next to ours: the same text, tokens and size, in one run.

    python experiments/bench/nanogpt_cpu.py TEXT [--designs gpt mamba2 ...] [--repeats 1]

TEXT is a plain text such as tinyshakespeare (1,115,394 characters); its first 90 % train, the rest
is held out.  The peer's side (github.com/karpathy/nanoGPT, "I only have a macbook") is written out
here: 4 layers, 4 heads, width 128, context 64, batch 12, 2,000 steps, AdamW at 1e-3 falling to
1e-4, beta2 0.99, 100 steps of warm-up, no dropout, no biases, characters as tokens.  Ours gets as
many tokens through the trainer `torch` with its default recipe.  A token is a character on both
sides, so that a loss is in nats per character; it is taken over the whole held-out part, in windows
of the context that do not overlap.  Prints the loss, the parameters and the CPU seconds of each.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from genesys_engine.gab.compose import compose, load_block
from genesys_engine.gab.library import seed as seed_design
from genesys_engine.gab.library import seed_names
from genesys_engine.gab.model import LanguageModel
from genesys_engine.gab.scales import Scale, fit_scale
from genesys_engine.plugins.api import TrainBudget
from genesys_engine.plugins.corpus import Batch
from genesys_engine.plugins.trainers.options import TorchTrainerOptions
from genesys_engine.plugins.trainers.pytorch import TorchTrainer

CONTEXT, WIDTH, LAYERS, HEADS, ROWS, STEPS = 64, 128, 4, 4, 12, 2000
TOKENS = CONTEXT * ROWS * STEPS  # 1.54 million


class Characters:
    """A text as the trainer's corpus: every character a token."""

    def __init__(self, text: str) -> None:
        self.alphabet = sorted(set(text))
        numbers = {character: number for number, character in enumerate(self.alphabet)}
        ids = np.array([numbers[character] for character in text], dtype=np.int64)
        cut = int(0.9 * len(ids))
        self.train, self.heldout = ids[:cut], ids[cut:]

    @property
    def vocab_size(self) -> int:
        """How many different characters there are."""
        return len(self.alphabet)

    def batches(self, seed: int, rows: int, context: int, start: int = 0) -> Iterator[Batch]:
        """Yield windows at random places, as the peer draws them."""
        generator = np.random.default_rng(seed)
        mask = np.ones((rows, context), dtype=bool)
        while True:
            places = generator.integers(0, len(self.train) - context - 1, rows)
            windows = np.stack([self.train[at : at + context + 1] for at in places])
            yield Batch(windows[:, :-1], windows[:, 1:], mask)


class PeerBlock(nn.Module):
    """A pre-norm block of GPT-2 without biases."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = (nn.LayerNorm(WIDTH, bias=False) for _ in range(2))
        self.qkv, self.out = (nn.Linear(WIDTH, n * WIDTH, bias=False) for n in (3, 1))
        self.up = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.down = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, X: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        B, T, D = X.shape
        heads = self.qkv(self.norm_1(X)).view(B, T, 3, HEADS, D // HEADS)
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # each (B, H, T, D / H)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        X = X + self.out(mixed.transpose(1, 2).reshape(B, T, D))
        out: Tensor = X + self.down(F.gelu(self.up(self.norm_2(X))))
        return out


class Peer(nn.Module):
    """The peer's model: learned positions, tied head."""

    def __init__(self, vocab_size: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.tokens = nn.Embedding(vocab_size, WIDTH)
        self.positions = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.ModuleList(PeerBlock() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        for name, weight in self.named_parameters():
            if weight.ndim > 1:
                after = name.endswith(("out.weight", "down.weight"))  # GPT-2: smaller by depth
                std = 0.02 / math.sqrt(2 * LAYERS) if after else 0.02
                nn.init.normal_(weight, std=std)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, T) to logits (B, T, V)."""
        X = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            X = block(X)
        return F.linear(self.norm(X), self.tokens.weight)


def train_peer(model: Peer, corpus: Characters, seed: int) -> None:
    """Train as the peer does."""
    weights = list(model.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [w for w in weights if w.ndim > 1], "weight_decay": 0.1},
            {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.99),
        fused=True,
    )
    for step, batch in zip(range(STEPS), corpus.batches(seed, ROWS, CONTEXT), strict=False):
        done = (step - 100) / (STEPS - 100)
        rate = 1e-3 * (step + 1) / 101 if step < 100 else 1e-4 + 9e-4 * 0.5 * (
            1 + math.cos(math.pi * done)
        )  # fmt: skip
        for group in optimizer.param_groups:
            group["lr"] = rate
        logits = model(torch.from_numpy(batch.inputs))
        F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(batch.targets).flatten()).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def ours(design: str, corpus: Characters, seed: int) -> LanguageModel:
    """Return a seed design brought to the peer's size."""
    scale = Scale("peer", WIDTH, LAYERS, CONTEXT, 1e-3, ROWS * CONTEXT, 1)
    block = load_block(compose(seed_design(design)))
    config = fit_scale(block, scale, corpus.vocab_size).config
    return LanguageModel(block, dataclasses.replace(config, context=CONTEXT), seed=seed)


def loss_of(model: nn.Module, ids: NDArray[np.int64]) -> float:
    """Return the mean loss (nats per character) over all of `ids`."""
    windows = torch.from_numpy(ids[: (len(ids) - 1) // CONTEXT * CONTEXT + 1])
    inputs, targets = (part.view(-1, CONTEXT) for part in (windows[:-1], windows[1:]))
    total = 0.0
    with torch.inference_mode():
        for x, y in zip(inputs.split(256), targets.split(256), strict=True):  # type: ignore[no-untyped-call]
            total += float(F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum"))
    return total / targets.numel()


def measure(design: str, corpus: Characters, seed: int) -> tuple[float, int, float]:
    """Train one side; return its held-out loss, parameters and CPU seconds of training."""
    start = time.process_time()
    model: nn.Module
    if design == "nanoGPT":
        model = Peer(corpus.vocab_size, seed)
        train_peer(model, corpus, seed)
    else:
        model = ours(design, corpus, seed)
        budget = TrainBudget(TOKENS, ROWS * CONTEXT, 1e-3, seed)
        with tempfile.TemporaryDirectory() as folder:
            trainer = TorchTrainer(TorchTrainerOptions(device="cpu", checkpoint_every_s=0))
            trainer.train(model, corpus, budget, Path(folder) / "model")  # type: ignore[arg-type]
    cpu_s = time.process_time() - start
    return loss_of(model.eval(), corpus.heldout), sum(p.numel() for p in model.parameters()), cpu_s


def main() -> None:
    """Read the options, train every side, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--designs", nargs="+", default=["gpt"], choices=seed_names())
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    corpus = Characters(options.text.read_text(encoding="utf-8"))
    print("| model | parameters | nats per character | CPU s |\n|---|---|---|---|")
    for design in ("nanoGPT", *options.designs):
        found = [measure(design, corpus, seed) for seed in range(options.repeats)]
        losses = [loss for loss, _, _ in found]
        spread = f" +- {statistics.stdev(losses):.3f}" if len(losses) > 1 else ""
        seconds = statistics.fmean(cpu_s for *_, cpu_s in found)
        loss = f"{statistics.fmean(losses):.3f}{spread}"
        print(f"| {design} | {found[0][1]:,} | {loss} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
