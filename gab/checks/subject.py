"""The block under test: models built from it, and ways to run and to compare them.

All probes use a small language model (in a run: width 64, two blocks, Z carried through) in
fp64, where a leak cannot hide in rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from genesys_engine.gab.checks.blame import Call, trace
from genesys_engine.gab.checks.numbers import start_generator
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.checks.untouched import PatchedError, remember
from genesys_engine.gab.model import LanguageModel
from genesys_engine.gab.scales import ModelConfig

WIDTH = 64
BLOCKS = 2
VOCABULARY = 97
# Causality is probed up to this length even where the training context is longer.
LONGEST = 512
_NOISE = (1.0, 0.1, 0.01)


@dataclass(frozen=True)
class Subject:
    """One block under test.

    `context` is the training context of the smallest scale; `seed` makes the random values.
    `width` and `blocks` shape the model that is probed; `chunk` is the largest chunk that the
    source seems to work in, 0 where it names none: a probe is longer than that.
    """

    block_class: type[nn.Module]
    source: SourceMap
    context: int
    seed: int
    width: int = WIDTH
    blocks: int = BLOCKS
    chunk: int = 0
    _normals: list[Tensor] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Lengths to try: one, odd, prime, the training context, and beyond every chunk."""
        return tuple(dict.fromkeys((1, 9, 31, self.context, max(self.context, self.chunk + 3))))

    @property
    def long(self) -> int:
        """The longest length for probes that run many times."""
        return max(min(self.context, LONGEST), min(self.chunk, LONGEST) + 3)

    def block(self, index: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
        """Return a fresh block, the same at every call."""
        start_generator(self.seed)
        return self.block_class(self.width, (index, self.blocks), dtype=dtype)

    def model(self, *, noise: float = 0.0, dtype: torch.dtype = torch.float64) -> LanguageModel:
        """Return a fresh model with initial parameters, or with `noise` added to them.

        The noise is normal, of about the size that keeps signals at theirs.
        """
        config = ModelConfig(
            d_model=self.width,
            n_blocks=self.blocks,
            vocab_size=VOCABULARY,
            context=self.context,
        )
        model = LanguageModel(self.block_class, config, dtype=dtype, seed=self.seed)
        if noise:
            self._add_noise(model, noise)
        return model

    def _add_noise(self, model: nn.Module, noise: float) -> None:
        parameters = list(model.parameters())
        if not self._normals:  # to draw them costs as much as to build the model
            generator = self.generator(1)
            self._normals.extend(torch.randn(p.shape, generator=generator) for p in parameters)
        with torch.no_grad():
            for parameter, values in zip(parameters, self._normals, strict=True):
                fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
                parameter.add_(values.to(parameter.dtype) * (noise * fan_in**-0.5))

    @cached_property
    def _moved(self) -> tuple[float, LanguageModel]:
        """How far parameters can be moved with the output still finite, and that model."""
        for noise in _NOISE:
            model = self.model(noise=noise).eval()
            if all(
                torch.isfinite(self.run(model, self.tokens(1, n))).all()
                for n in dict.fromkeys((31, self.context, self.long))
            ):
                return noise, model
        return 0.0, self.model()

    @property
    def noise(self) -> float:
        """How far parameters can be moved with the output still finite."""
        return self._moved[0]

    def opened(self) -> LanguageModel:
        """Return a fresh model whose parameters are all moved: a gate that is zero opens."""
        return self.model(noise=self.noise)

    @property
    def shared(self) -> LanguageModel:
        """What `opened` returns, built once and run before: for probes behind the one for state.

        Its mode and its gradients are those that the last probe left.
        """
        return self._moved[1]

    @cached_property
    def answer(self) -> tuple[Tensor, Tensor]:
        """Tokens (1, 31) and what `shared` makes of them in eval mode, run once for all probes."""
        tokens = self.tokens(1, 31)
        return tokens, self.run(self.shared.eval(), tokens)

    def generator(self, salt: int) -> torch.Generator:
        """Return a generator of random values for one purpose."""
        return torch.Generator().manual_seed(self.seed * 1000 + salt)

    def tokens(self, batch: int, length: int, salt: int = 2) -> Tensor:
        """Return random tokens (batch, length), none twice in `VOCABULARY` of a row.

        Equal tokens would tie wherever a block chooses, and rounding would break the tie.
        """
        parts = -(-length // VOCABULARY)
        drawn = torch.rand(batch, parts, VOCABULARY, generator=self.generator(salt))
        return drawn.argsort(-1).flatten(1)[:, :length]

    def other_tokens(self, tokens: Tensor, salt: int = 3) -> Tensor:
        """Return random tokens of the same shape, each different from its counterpart."""
        step = torch.randint(1, VOCABULARY, tokens.shape, generator=self.generator(salt))
        return (tokens + step) % VOCABULARY

    def run(
        self, module: nn.Module, *inputs: Tensor, seed: int = 0, gradient: bool = False
    ) -> Tensor:
        """Return the output, with the global generator started at `seed`.

        With `gradient` the graph is recorded as in training, and thrown away.

        Raises:
            PatchedError: the block changed a class that the checks rely on.
        """
        start_generator(seed)
        with torch.set_grad_enabled(gradient):
            output: Any = module(*inputs)
        if remember()(False):
            raise PatchedError
        result: Tensor = output[0] if isinstance(output, tuple) else output
        return result.detach()

    def trace(self, model: nn.Module, tokens: Tensor, seed: int = 0) -> list[Call]:
        """Run as `run` does, and return the calls of the units."""
        return trace(model, self.source, lambda: self.run(model, tokens, seed=seed))

    @contextmanager
    def inputs_of_blocks(self, model: nn.Module) -> Iterator[list[Tensor]]:
        """Collect the embedded tokens (batch, time, width), as leaves that keep their gradient."""
        caught: list[Tensor] = []

        def catch(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            leaf = output.detach().requires_grad_()
            caught.append(leaf)
            return leaf

        embedding = next(m for m in model.modules() if isinstance(m, nn.Embedding))
        handle = embedding.register_forward_hook(catch)
        try:
            yield caught
        finally:
            handle.remove()
