"""The block under test: models built from it, and ways to run and to compare them.

All probes use a small language model (in a run: width 64, two blocks, Z carried through) in
fp64, where a leak cannot hide in rounding.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from genesys_engine.gab.checks import lengths
from genesys_engine.gab.checks.blame import Call, trace
from genesys_engine.gab.checks.chunks import lengths_named
from genesys_engine.gab.checks.lifted import lifted
from genesys_engine.gab.checks.numbers import start_generator
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.checks.untouched import PatchedError, remember
from genesys_engine.gab.model import LanguageModel
from genesys_engine.gab.scales import ModelConfig

WIDTH = 64
BLOCKS = 2
VOCABULARY = 97
_SHORT = 31
_PLACES = 0.1  # the size of what tells equal tokens apart, beside theirs
_NOISE = (1.0, 0.1, 0.01)


@dataclass(frozen=True)
class Subject:
    """One block under test.

    `context` is the largest context that it is to be trained at, `contexts` are all of them, if
    there are more; `seed` makes the random values.  `width` and `blocks` shape the model that is
    probed.  With `beyond`, lengths beyond the context are probed too.
    """

    block_class: type[nn.Module]
    source: SourceMap
    context: int
    seed: int
    width: int = WIDTH
    blocks: int = BLOCKS
    contexts: tuple[int, ...] = ()
    beyond: bool = False
    _normals: dict[int, list[Tensor]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _alone: dict[int, list[Tensor]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def lengths(self) -> tuple[int, ...]:
        """Lengths to try: one, odd, prime, the contexts, and the longest of all."""
        return tuple(dict.fromkeys((1, 9, _SHORT, *self.contexts, self.context, self.longest)))

    @cached_property
    def longest(self) -> int:
        """The longest length that is probed: the context, or one behind every chunk."""
        return lengths.beyond(self.context, self.chunks) if self.beyond else self.context

    @cached_property
    def chunks(self) -> tuple[int, ...]:
        """Whole numbers, ascending, that may be the length of a chunk of this block."""
        own = sys.modules.get(self.block_class.__module__)
        units = [module for module in self.block().modules() if self.source.is_unit(module)]
        known = {
            (name, value)
            for holder in (*units, *([own] if own else []))
            for name, value in vars(holder).items()
            if type(value) in (int, float)
        }
        return lengths_named(self.source.text, tuple(sorted(known)))

    @property
    def unprobed(self) -> list[int]:
        """Numbers of the code that may be a chunk's length and that no probe is longer than."""
        return [size for size in self.chunks if size > self.longest]

    def block(self, index: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
        """Return a fresh block, the same at every call."""
        start_generator(self.seed)
        return self.block_class(self.width, (index, self.blocks), dtype=dtype)

    def model(
        self, *, noise: float = 0.0, dtype: torch.dtype = torch.float64, salt: int = 1
    ) -> LanguageModel:
        """Return a fresh model with initial parameters, or with `noise` added to them.

        The noise is normal, of about the size that keeps signals at theirs, another for each
        `salt`.
        """
        config = ModelConfig(
            d_model=self.width,
            n_blocks=self.blocks,
            vocab_size=VOCABULARY,
            context=self.context,
        )
        model = LanguageModel(self.block_class, config, dtype=dtype, seed=self.seed)
        if noise:
            self._add_noise(model, noise, salt)
        model.embedding.register_forward_hook(self._place)
        return model

    def _place(self, _embedding: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        """Make every position's vector its own: a token comes again in long inputs.

        Equal ones would tie wherever a block chooses, and rounding would break the tie.
        """
        places: Tensor = self._places
        return output + places[: output.shape[1]].to(output.dtype)

    @cached_property
    def _places(self) -> Tensor:
        drawn = torch.randn(max(self.longest, 128), self.width, generator=self.generator(6))
        places: Tensor = drawn * (_PLACES * self.width**-0.5)
        return places

    def _add_noise(self, model: nn.Module, noise: float, salt: int) -> None:
        parameters = list(model.parameters())
        if salt not in self._normals:  # to draw them costs as much as to build the model
            generator = self.generator(salt)
            drawn = [torch.randn(p.shape, generator=generator) for p in parameters]
            self._normals[salt] = drawn
        with torch.no_grad():
            for parameter, values in zip(parameters, self._normals[salt], strict=True):
                fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
                parameter.add_(values.to(parameter.dtype) * (noise * fan_in**-0.5))

    @cached_property
    def _moved(self) -> tuple[float, LanguageModel]:
        """How far parameters can be moved with the output still finite, and that model."""
        for noise in _NOISE:
            model = self.model(noise=noise).eval()
            if all(
                torch.isfinite(self.run(model, self.tokens(1, n))).all()
                for n in dict.fromkeys((_SHORT, self.context))
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

    def is_shared(self, model: nn.Module) -> bool:
        """Tell whether it is the one that `shared` returns, without building that."""
        return "_moved" in vars(self) and model is self.shared

    @property
    def answer(self) -> tuple[Tensor, Tensor]:
        """Tokens (1, 31) and what `shared` makes of them in eval mode, run once for all probes."""
        return self.tokens(1, _SHORT), self.alone(_SHORT)[-1]

    def alone(self, length: int) -> list[Tensor]:
        """Return the layers of `shared` in eval mode for the first `length` tokens, run once."""
        if length not in self._alone:
            self._alone[length] = self.layers(self.shared.eval(), self.tokens(1, length))
        return self._alone[length]

    def generator(self, salt: int) -> torch.Generator:
        """Return a generator of random values for one purpose."""
        return torch.Generator().manual_seed(self.seed * 1000 + salt)

    def tokens(self, batch: int, length: int, salt: int = 2) -> Tensor:
        """Return random tokens (batch, length), none twice in `VOCABULARY` of a row."""
        parts = -(-length // VOCABULARY)
        drawn = torch.rand(batch, parts, VOCABULARY, generator=self.generator(salt))
        return drawn.argsort(-1).flatten(1)[:, :length]

    def other_tokens(self, tokens: Tensor, salt: int = 3) -> Tensor:
        """Return random tokens of the same shape, each different from its counterpart."""
        step = torch.randint(1, VOCABULARY, tokens.shape, generator=self.generator(salt))
        return (tokens + step) % VOCABULARY

    def run(
        self,
        module: nn.Module,
        *inputs: Tensor,
        seed: int = 0,
        gradient: bool = False,
        wide: bool = False,
    ) -> Tensor:
        """Return the output, with the global generator started at `seed`.

        With `gradient` the graph is recorded as in training, and thrown away.  With `wide` what
        the block computes in fp32 is computed in fp64.

        Raises:
            PatchedError: the block changed a class that the checks rely on.
        """
        start_generator(seed)
        with torch.set_grad_enabled(gradient), lifted(wide):
            output: Any = module(*inputs)
        if remember()(False):
            raise PatchedError
        result: Tensor = output[0] if isinstance(output, tuple) else output
        return result.detach()

    def layers(
        self,
        model: nn.Module,
        tokens: Tensor,
        *,
        gradient: bool = False,
        wide: bool = False,
        nearer: tuple[Tensor, float] | None = None,
    ) -> list[Tensor]:
        """Return the output of every layer, (rows, time, width), and the logits behind them.

        With `nearer`, other tokens and a share, the embedded tokens differ from those of the others
        by that share of what they do.
        """
        layers: list[Tensor] = []

        def note(_module: nn.Module, _inputs: object, reply: tuple[Tensor, object]) -> None:
            layers.append(reply[0].detach())

        blocks = [module for module in model.modules() if isinstance(module, self.block_class)]
        handles = [block.register_forward_hook(note) for block in blocks]
        if nearer is not None:
            handles.append(_embedding(model).register_forward_hook(_towards(*nearer)))
        try:
            logits = self.run(model, tokens, gradient=gradient, wide=wide)
        finally:
            for handle in handles:
                handle.remove()
        return [*layers, logits]

    def pull(
        self, model: nn.Module, tokens: Tensor, weights: Tensor, *, wide: bool = False
    ) -> Tensor | None:
        """Return the gradient of the sum of `weights` times the logits for the embedded tokens.

        None where there is none.  By `backward`, as training takes it: reentrant checkpoints
        know no other way.
        """
        start_generator(0)
        with lifted(wide), self.inputs_of_blocks(model) as caught:
            output = model(tokens)
            if output.requires_grad:
                output.backward(weights)
        model.zero_grad(set_to_none=True)
        return caught[0].grad

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

        handle = _embedding(model).register_forward_hook(catch)
        try:
            yield caught
        finally:
            handle.remove()


def _embedding(model: nn.Module) -> nn.Embedding:
    """Return the model's own embedding, which comes before those of its blocks."""
    return next(m for m in model.modules() if isinstance(m, nn.Embedding))


def _towards(tokens: Tensor, share: float) -> Callable[..., Tensor]:
    def hook(module: nn.Embedding, _inputs: Any, output: Tensor) -> Tensor:
        return torch.lerp(module.weight[tokens], output, share)

    return hook
