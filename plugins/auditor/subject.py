"""The block under test: models built from it, and ways to run and to compare them.

All probes use a small language model (in a run: width 64, two blocks, Z carried through) in
fp64, where a leak cannot hide in rounding.

The models are in the candidate's own process (`candidate`).  What they are given is drawn here,
what they give back is checked for its form and compared here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from genesys_engine.gab.checks.sourcemap import Place, SourceMap
from genesys_engine.gab.checks.trace import Call
from genesys_engine.gab.layers import ALIKE, Layers
from genesys_engine.gab.raised import read_frame
from genesys_engine.plugins.auditor import lengths
from genesys_engine.plugins.auditor.candidate import (
    AnswerError,
    Asking,
    Candidate,
    Model,
    Trace,
    found,
    names,
    only,
    rows,
)
from genesys_engine.plugins.auditor.chunks import lengths_named
from genesys_engine.plugins.auditor.numbers import derived
from genesys_engine.plugins.sandbox.subject import BadAnswer, SubjectRaised

T = TypeVar("T")

WIDTH = 64
BLOCKS = 2
VOCABULARY = 97
_SHORT = 31
_PLACES = 0.1  # the size of what tells equal tokens apart, next to theirs
_NOISE = (1.0, 0.1, 0.01)
_OF_BLOCKS = 1000  # salts of what single blocks' parameters are moved by

View = Sequence[Any]
"""A part of every value that should be equal in two runs: a name of `served`, and its arguments."""
WHOLE: View = ("whole",)


@dataclass(frozen=True)
class Subject:
    """One block under test.

    `context` is the largest context that it is to be trained at, `contexts` are all of them, if
    there are more; `seed` makes the random values.  `width`, `blocks` and `vocabulary` shape the
    model that is probed; `kinds` says how its layers differ.  With `beyond`, lengths beyond the
    context are probed too.
    """

    candidate: Candidate
    source: SourceMap
    context: int
    seed: int
    width: int = WIDTH
    blocks: int = BLOCKS
    contexts: tuple[int, ...] = ()
    beyond: bool = False
    vocabulary: int = VOCABULARY
    kinds: Layers = ALIKE
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
        known: set[tuple[str, float]] = set()
        blocks = list(self.each_kind())
        questions = [self.candidate.to_ask(block, "numbers") for block in blocks]
        for answer, _ in self.candidate.ask_all(questions):
            known |= {(n, v) for n, v in rows(answer, "numbers", str, (int, float))}
        return lengths_named(self.source.text, tuple(sorted(known)))

    @property
    def unprobed(self) -> list[int]:
        """Numbers of the code that may be a chunk's length and that no probe is longer than."""
        return [size for size in self.chunks if size > self.longest]

    @property
    def weights_seed(self) -> int:
        """What the weights are drawn from: known where the block runs, and no hint at more."""
        return derived(self.seed, "weights")

    def block(
        self,
        index: int = 0,
        dtype: torch.dtype = torch.float64,
        *,
        width: int = 0,
        blocks: int = 0,
        device: str = "",
        seed: int | None = None,
        placed: bool = False,
    ) -> Model:
        """Return a fresh block, the same at every call.

        One that is `placed` is called with what the blocks below it leave in Z.
        """
        return self.candidate.build(
            "block",
            index=index,
            blocks=blocks or self.blocks,
            width=width or self.width,
            dtype=_name(dtype),
            device=device,
            seed=self.weights_seed if seed is None else seed,
            placed=placed,
        )

    def each_kind(self, dtype: torch.dtype = torch.float64, *, device: str = "") -> Iterator[Model]:
        """Yield a fresh block of every kind of layer: the first, and each that differs from it."""
        for index in self._first_of_kind:
            yield self.block(index, dtype, device=device, placed=index > 0)

    def stack(self, dtype: torch.dtype = torch.float64) -> list[Model]:
        """Return fresh blocks to stand for all: the first, or the whole stack where they differ."""
        return [self.block(index, dtype) for index in range(self.stacked)]

    @property
    def stacked(self) -> int:
        """How many blocks stand for all."""
        return self.blocks if self.kinds.differ else 1

    @cached_property
    def _first_of_kind(self) -> list[int]:
        if not self.kinds.differ:
            return [0]
        found = structure(self.candidate, self.blocks)
        return sorted({kind: i for i, kind in reversed([*enumerate(found)])}.values())

    def model(
        self, *, noise: float = 0.0, dtype: torch.dtype = torch.float64, salt: int = 1
    ) -> Model:
        """Return a fresh model with initial parameters, or with `noise` added to them.

        The noise is normal, of about the size that keeps signals at theirs, another for each
        `salt`.
        """
        _ = self._placed
        config = {
            "d_model": self.width,
            "n_blocks": self.blocks,
            "vocab_size": VOCABULARY,
            "context": self.context,
        }
        model = self.candidate.build(
            "model", config=config, dtype=_name(dtype), seed=self.weights_seed
        )
        if noise:
            self._add_noise(model, noise, salt)
        return model

    @cached_property
    def _placed(self) -> bool:
        """Make every position's vector its own: a token comes again in long inputs.

        Equal ones would tie wherever a block chooses, and rounding would break the tie.
        """
        drawn = torch.randn(max(self.longest, 128), self.width, generator=self.generator(6))
        self.candidate.have_done("set_places", drawn * (_PLACES * self.width**-0.5))
        return True

    def _add_noise(self, model: Model, noise: float, salt: int) -> None:
        self.candidate.have(model, "move", seed=derived(self.seed, salt), noise=noise)

    @cached_property
    def _moved(self) -> tuple[float, Model]:
        """How far parameters can be moved with the output still finite, and that model."""
        for noise in _NOISE:
            model = self.model(noise=noise).eval()
            lengths = tuple(dict.fromkeys((_SHORT, self.context)))
            tokens = [self.tokens(1, length) for length in lengths]
            alone = list(self.all_of([self.to_layers(model, each) for each in tokens]))
            if all(torch.isfinite(layers[-1]).all() for layers in alone):
                self._alone.update(zip(lengths, alone, strict=True))
                break
        else:
            noise, model = 0.0, self.model()
        model.steady = True  # answers are kept
        return noise, model

    @property
    def noise(self) -> float:
        """How far parameters can be moved with the output still finite."""
        return self._moved[0]

    def opened(self) -> Model:
        """Return a fresh model whose parameters are all moved: a gate that is zero opens."""
        return self.model(noise=self.noise)

    def opened_kinds(self, dtype: torch.dtype) -> Iterator[Model]:
        """Yield what `each_kind` does, with all parameters moved as those of `opened` are."""
        for number, block in enumerate(self.each_kind(dtype)):
            self._add_noise(block, self.noise, _OF_BLOCKS + number)
            yield block

    @property
    def shared(self) -> Model:
        """What `opened` returns, built once and run before: for probes behind the one for state.

        Its mode is the one that the last probe left.
        """
        return self._moved[1]

    def is_shared(self, model: Model) -> bool:
        """Tell whether it is the one that `shared` returns, without building that."""
        return "_moved" in vars(self) and model is self.shared

    @property
    def answer(self) -> tuple[Tensor, Tensor]:
        """Tokens (1, 31) and what `shared` makes of them in eval mode, run once for all probes."""
        return self.tokens(1, _SHORT), self.alone(_SHORT)[-1]

    def alone(self, length: int) -> list[Tensor]:
        """Return the layers of `shared` in eval mode for the first `length` tokens, run once."""
        self.run_alone([length])
        return self._alone[length]

    def run_alone(self, lengths: Sequence[int]) -> None:
        """Have `alone` ready for some lengths, asked together."""
        model = self.shared.eval()
        new = [length for length in dict.fromkeys(lengths) if length not in self._alone]
        asked = [self.to_layers(model, self.tokens(1, length)) for length in new]
        self._alone.update(zip(new, self.all_of(asked), strict=True))

    # --- random values ---

    def generator(self, salt: int) -> torch.Generator:
        """Return a generator of random values for one purpose."""
        return torch.Generator().manual_seed(derived(self.seed, salt))

    def tokens(self, batch: int, length: int, salt: int = 2) -> Tensor:
        """Return random tokens (batch, length), none twice in `VOCABULARY` of a row."""
        parts = -(-length // VOCABULARY)
        drawn = torch.rand(batch, parts, VOCABULARY, generator=self.generator(salt))
        return drawn.argsort(-1).flatten(1)[:, :length]

    def text(self, batch: int, length: int, salt: int = 11) -> Tensor:
        """Return random tokens (batch, length) that come as often as words do (Zipf 1949): a few
        at every second place, many once, and the same ones again and again."""
        generator = self.generator(salt)
        often = 1 / (2.7 + torch.randperm(VOCABULARY, generator=generator))  # Mandelbrot 1953
        drawn = torch.multinomial(often, batch * length, replacement=True, generator=generator)
        return drawn.view(batch, length)

    def other_tokens(self, tokens: Tensor, salt: int = 3) -> Tensor:
        """Return random tokens of the same shape, each different from its counterpart."""
        step = torch.randint(1, VOCABULARY, tokens.shape, generator=self.generator(salt))
        return (tokens + step) % VOCABULARY

    # --- outputs and gradients ---

    def all_of(self, askings: Sequence[Asking[T]]) -> Iterator[T]:
        """Ask several questions in one message; what one raises is raised in its place."""
        return self.candidate.answers(askings)

    def run(self, module: Model, *inputs: Tensor, **how: Any) -> Tensor:
        """Return the output; see `to_run`."""
        return next(self.all_of([self.to_run(module, *inputs, **how)]))

    def to_run(
        self,
        module: Model,
        *inputs: Tensor,
        seed: int = 0,
        gradient: bool = False,
        wide: bool = False,
    ) -> Asking[Tensor]:
        """Ask for the output, with the global generator started from `seed`.

        With `gradient` the graph is recorded as in training, and thrown away.  With `wide` what
        the block computes in fp32 is computed in fp64.

        Raises:
            SubjectRaised: the block raises.
            AnswerError: the output has another shape than it must have.
        """
        asked = self.to_try(module, *inputs, seed=seed, gradient=gradient, wide=wide)
        return Asking(asked.question, lambda *reply: asked.read(*reply)[0])

    def to_try(
        self, module: Model, *inputs: Tensor, seed: int = 0, **how: bool
    ) -> Asking[tuple[Tensor, bool]]:
        """Ask for the output as `to_run` does, and whether it drew from the global generator."""
        how = {"gradient": False, "wide": False, **how}
        seeded = self._run_seed(inputs[0], seed)
        question = self.candidate.to_ask(module, "run", *inputs, seed=seeded, **how)

        def read(answer: dict[str, Any], made: Sequence[Tensor]) -> tuple[Tensor, bool]:
            return self.shaped(only(made)[0], inputs[0]), bool(answer.get("draws"))

        return Asking(question, read)

    def to_run_without(
        self, model: Model, path: str, tokens: Tensor
    ) -> Asking[tuple[Tensor, bool]]:
        """Ask for the output without the units at a path of every block, and if one was called."""
        how = {"seed": self._run_seed(tokens), "gradient": False, "wide": False, "path": path}
        question = self.candidate.to_ask(model, "run_without", tokens, **how)

        def read(answer: dict[str, Any], made: Sequence[Tensor]) -> tuple[Tensor, bool]:
            return self.shaped(only(made)[0], tokens), bool(answer.get("called"))

        return Asking(question, read)

    def layers(self, model: Model, tokens: Tensor, **how: Any) -> list[Tensor]:
        """Return the output of every layer, and the logits; see `to_layers`."""
        return next(self.all_of([self.to_layers(model, tokens, **how)]))

    def to_layers(
        self,
        model: Model,
        tokens: Tensor,
        *,
        gradient: bool = False,
        wide: bool = False,
        bare: bool = False,
        nearer: tuple[Tensor, float] | None = None,
    ) -> Asking[list[Tensor]]:
        """Ask for the output of every layer, (rows, time, width), and the logits behind them.

        With `nearer`, other tokens and a share, the embedded tokens differ from those of the others
        by that share of what they do.  With `bare`, equal tokens are equal vectors, as they are in
        a training; without, no two places of an input are alike.
        """
        how = {"gradient": gradient, "wide": wide, "bare": bare, "seed": self._run_seed(tokens)}
        others, share = nearer or ((), 0.0)
        inputs = [tokens, others] if isinstance(others, Tensor) else [tokens]
        question = self.candidate.to_ask(model, "layers", *inputs, nearer=share, **how)

        def read(_: dict[str, Any], made: Sequence[Tensor]) -> list[Tensor]:
            *layers, logits = only(made, self.blocks + 1)
            layers = [self.shaped(layer, tokens, self.width) for layer in layers]
            return [*layers, self.shaped(logits, tokens)]

        return Asking(question, read)

    def pull(self, model: Model, tokens: Tensor, weights: Tensor, **how: bool) -> Tensor | None:
        """Return a gradient; see `to_pull`."""
        return next(self.all_of([self.to_pull(model, tokens, weights, **how)]))

    def to_pull(
        self, model: Model, tokens: Tensor, weights: Tensor, *, wide: bool = False
    ) -> Asking[Tensor | None]:
        """Ask for the gradient of the sum of `weights` times the logits for the embedded tokens.

        None where there is none.  The weights are drawn here, so that nobody there can know which
        outputs are asked for before they are.
        """
        question = self.candidate.to_ask(model, "pull", tokens, weights, wide=wide)

        def read(answer: dict[str, Any], made: Sequence[Tensor]) -> Tensor | None:
            (slope,) = found(answer, made, 1)
            return None if slope is None else self.shaped(slope, tokens, self.width)

        return Asking(question, read)

    def _run_seed(self, inputs: Tensor, seed: int = 0) -> int:
        """Return what the global generator is started at: another value for every length.

        Runs that are compared in train mode have one length, and draw alike.  What a block does
        for some draws only has as many occasions to show as there are lengths.
        """
        return derived(self.seed, f"run {seed} {inputs.shape[1]}")

    def shaped(self, output: Tensor, given: Tensor, width: int = 0) -> Tensor:
        """Return an output for tokens (rows, time) or vectors (rows, time, width), if it is so
        shaped; for tokens of a `width`, else that of logits."""
        wanted = given.shape if given.dim() == 3 else (*given.shape, width or self.vocabulary)
        if output.shape != wanted:
            text = f"An input of {tuple(given.shape)} gives an output of {tuple(output.shape)}."
            raise AnswerError("shape.wrong", text)
        if not (output.is_floating_point() or output.is_complex()):
            raise AnswerError("dtype.wrong", f"The output is {output.dtype}.")
        return output

    # --- who did it ---

    def trace(
        self, model: Model, *inputs: Tensor, seed: int = 0, without_detached: bool = False
    ) -> Trace:
        """Run as `run` does, and have the calls of the units kept."""
        how = {"seed": self._run_seed(inputs[0], seed), "gradient": False, "wide": False}
        return self.candidate.trace(model, *inputs, without_detached=without_detached, **how)

    def first_different(
        self, runs: tuple[Trace, Trace], views: tuple[View, View], tolerance: float
    ) -> Place:
        """Return the unit and line that made what is equal in two runs, seen so, different."""
        answer, _ = self.candidate.ask(
            "first_different",
            traces=[run.number for run in runs],
            views=[list(view) for view in views],
            tolerance=tolerance,
        )
        return self.source.checked_place(answer.get("unit"), answer.get("line"))

    def first_nonfinite(self, run: Trace) -> Place:
        """Return the unit and line that made NaN or infinity of finite values."""
        answer, _ = self.candidate.ask("first_nonfinite", trace=run.number)
        return self.source.checked_place(answer.get("unit"), answer.get("line"))

    def departure(self, model: Model, X: Tensor) -> tuple[Call, ...]:
        """Return the calls in which a block's wrong reply to an input came about, if known."""
        try:
            answer, _ = self.candidate.of(model, "departure", X, seed=0)
            frames = [read_frame(each) for each in answer["calls"]]
        except SubjectRaised:  # it replies to every other call only
            return ()
        except (KeyError, TypeError, ValueError) as error:
            raise BadAnswer(f"calls of no known form: {error!r:.200}") from None
        return self.source.calls(frames)

    def place_of(self, model: Model) -> Place:
        """Return the unit that a block is of, and its first line."""
        return self.source.place_of_class(model.unit)

    def place_of_parameter(self, model: Model, name: str) -> Place:
        """Return the innermost unit that holds the parameter, and where it assigns it."""
        answer, _ = self.candidate.of(model, "holder", name=name)
        unit, attribute = answer.get("unit"), answer.get("attribute")
        if not isinstance(unit, str) or not isinstance(attribute, str):
            return None, None
        return self.source.place_of_attribute(unit, attribute)


def structure(candidate: Candidate, blocks: int) -> list[str]:
    """Return what tells the kinds of layers of a stack apart, one for each layer."""
    answer, _ = candidate.ask("structure", blocks=blocks)
    found = names(answer, "layers")
    if len(found) != blocks:
        raise BadAnswer(f"{len(found)} layers in the place of {blocks}")
    return found


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
