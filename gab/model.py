"""The language model around a block: embedding, N blocks, final norm, tied head.

Imports torch: only workers and tests import this module.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genesys_engine.gab.scales import ModelConfig


class LanguageModel(nn.Module):
    """Tokens (B, T) to logits (B, T, vocab_size).

    The intermediate values Z begin empty and are carried through all blocks.  The head is the
    embedding, transposed (Press and Wolf 2017, arXiv 1608.05859).  The final norm is RMSNorm
    (Zhang and Sennrich 2019, arXiv 1910.07467).
    """

    def __init__(
        self,
        block_class: Any,
        config: ModelConfig,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        seed: int = 0,
    ) -> None:
        """Build the model; equal arguments give equal weights on the same kind of device.

        `block_class(embed_dim, block_loc, device, dtype)` is a composed `Block`.  On the meta
        device nothing is allocated or initialised.
        """
        super().__init__()
        self.config = config
        self._block_class = block_class
        kw: dict[str, Any] = {"device": device, "dtype": dtype}
        width, n_blocks = config.d_model, config.n_blocks
        with torch.random.fork_rng():
            start_generators(seed, device)  # units draw what they initialise themselves from here
            # Not nn.Embedding(...): its initialisation on the meta device imports for seconds.
            empty = torch.empty(config.vocab_size, width, **kw)
            embedding = nn.Embedding.from_pretrained(empty, freeze=False)  # type: ignore[no-untyped-call]
            self.embedding: nn.Embedding = embedding
            self.blocks = nn.ModuleList(
                block_class(width, block_loc=(layer, n_blocks), **kw) for layer in range(n_blocks)
            )
            self.norm = nn.RMSNorm(width, **kw)
        if not self.embedding.weight.is_meta:
            self._small_init(seed)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, T), int64, to logits (B, T, vocab_size).

        Raises:
            TypeError: a block gave something that only looks like a tensor.
        """
        return self.head(self.states(tokens))

    def states(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, T), int64, to what the head reads, (B, T, d_model)."""
        X: Tensor = self.embedding(tokens)
        Z: dict[str, Any] = {}
        for block in self.blocks:
            X, Z = block(X, **Z)
            if type(X) is not Tensor:  # a subclass could answer for itself in every comparison
                raise TypeError(f"a block returned {type(X).__name__} in the place of a tensor")
        normed: Tensor = self.norm(X)
        return normed

    def head(self, states: Tensor) -> Tensor:
        """Map states (..., d_model) to logits (..., vocab_size)."""
        return F.linear(states, self.embedding.weight)

    def logits_at(self, tokens: Tensor, rows: Tensor, places: Tensor) -> Tensor:
        """Map tokens (B, T) to logits (n, vocab_size) at n places; the others need no head."""
        return self.head(self.states(tokens)[rows, places])

    def initialise(self, seed: int) -> None:
        """Set all weights as a new model of this seed has them."""
        weight = self.embedding.weight
        fresh = LanguageModel(
            self._block_class, self.config, device=weight.device, dtype=weight.dtype, seed=seed
        )
        self.load_state_dict(fresh.state_dict())

    def _small_init(self, seed: int) -> None:
        """Draw every linear and embedding weight from N(0, 2 / (5 d_model)); biases to zero.

        Small init: Nguyen and Salazar 2019, arXiv 1910.05895, section 2.2.  Drawn on the CPU,
        so that the weights do not depend on the device.
        """
        generator = torch.Generator().manual_seed(seed)
        std = math.sqrt(2 / (5 * self.config.d_model))
        with torch.no_grad():
            for module in _initialised(self):
                weight = module.weight
                drawn = torch.empty(weight.shape, dtype=torch.float32)
                weight.copy_(drawn.normal_(0.0, std, generator=generator))
                if isinstance(module, nn.Linear) and module.bias is not None:
                    module.bias.zero_()

    @torch.no_grad()
    def generate(
        self,
        tokens: Tensor,
        max_new_tokens: int,
        *,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Continue tokens (B, T) with `max_new_tokens` more; returns (B, T + max_new_tokens).

        Temperature 0 takes the likeliest token, else one is drawn with `generator`.  The model
        sees the last `config.context` tokens.
        """
        was_training = self.training
        self.eval()
        for _ in range(max_new_tokens):
            logits = self(tokens[:, -self.config.context :])[:, -1].float()
            if temperature > 0:
                weights = F.softmax(logits / temperature, dim=-1)
                new = torch.multinomial(weights, 1, generator=generator)
            else:
                new = logits.argmax(dim=-1, keepdim=True)
            tokens = torch.cat((tokens, new), dim=1)
        self.train(was_training)
        return tokens


def _initialised(module: nn.Module) -> Iterator[nn.Linear | nn.Embedding]:
    """Yield linear and embedding modules in order, except within modules with `keep_init`."""
    if getattr(module, "keep_init", False):
        return
    if isinstance(module, nn.Linear | nn.Embedding):
        yield module
    for child in module.children():
        yield from _initialised(child)


def start_generators(seed: int, device: torch.device | str | None = None) -> None:
    """Start the generators that are drawn from on a device, by default the CPU's.

    `torch.manual_seed` also notes the seed, with the stack of its caller, for every kind of
    accelerator that may come: milliseconds, and more than a small model takes to build.
    """
    if device is None or torch.device(device).type in ("cpu", "meta"):
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
