"""The candidate's side of the checks: builds the block and runs what it is asked to run.

Nothing here decides anything.  A block is loaded once; what is built from it stays here, known by
numbers; inputs go in, and outputs and gradients come out.  `candidate` is the other side.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from genesys_engine.gab import lean_torch
from genesys_engine.gab.checks.adapter import adapted, replying_with_pairs
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.compose import load_block
from genesys_engine.gab.layers import structure_of
from genesys_engine.gab.meta import on_meta
from genesys_engine.gab.model import LanguageModel, start_generators
from genesys_engine.gab.scales import ModelConfig, meta_model
from genesys_engine.plugins.auditor import blame, hooks, precision, trainee
from genesys_engine.plugins.auditor.blame import Call, is_unit
from genesys_engine.plugins.auditor.departure import departure
from genesys_engine.plugins.auditor.flops import (
    count_cost,
    flops_per_token,
    forward_and_backward,
    run_without_values,
    saved_bytes,
    through,
)
from genesys_engine.plugins.auditor.lifted import lifted
from genesys_engine.plugins.auditor.memory import buffers_kept, kept
from genesys_engine.plugins.auditor.numbers import fan_in
from genesys_engine.plugins.auditor.operations import View
from genesys_engine.plugins.auditor.untouched import remember
from genesys_engine.plugins.sandbox.subject import Answer, Operation

_MOST_NUMBERS = 2000
_FORMS: Mapping[str, Callable[[Any], Any]] = {
    "plain": lambda block_class: block_class,
    "pairs": replying_with_pairs,
    "adapted": adapted,
}
Given = dict[str, Any]
Tensors = list[Tensor]


def operations(scratch: Path) -> dict[str, Operation]:
    """Return what is served, by name: every public method of `Served`."""
    served = Served()
    names = [name for name in vars(Served) if not name.startswith("_")]
    return {name: _watched(served, getattr(served, name)) for name in names}


def _watched(served: Served, operation: Operation) -> Operation:
    """Tell with every answer whether a class that others rely on was changed: a tripwire."""

    def run(given: Given, tensors: Tensors) -> Answer:
        with served._holding(given):
            answer, made = operation(given, tensors)
        if kind := remember()(False):
            return {"patched": kind}, ()
        return answer, made

    return run


class Served:
    """A loaded block, and all that was built from it and may be asked for again."""

    def __init__(self) -> None:
        remember()
        self._source = SourceMap("")
        self._block_class: Any = None
        self._built: dict[int, nn.Module] = {}
        self._parts: dict[int, list[nn.Module]] = {}
        self._modes: dict[int, bool] = {}
        self._traces: dict[int, list[Call]] = {}
        self._notes: dict[int, tuple[dict[str, Tensor], dict[str, str]]] = {}
        self._drawn: dict[int, list[Tensor]] = {}
        self._places: dict[int, Tensor] = {}  # by width
        self._bare = False

    # --- what there is ---

    def load(self, given: Given, tensors: Tensors) -> Answer:
        """Run a source, and take a class of it in one of the forms that are known."""
        if given["whole_torch"]:
            lean_torch.everything()
        self._source = SourceMap(given["source"])
        found: Any = load_block(given["source"], given["class_name"])
        if not (isinstance(found, type) and issubclass(found, nn.Module)):
            return {"module": False}, ()
        self._block_class = _FORMS[given["form"]](found)
        return {"module": True}, ()

    def patched(self, given: Given, tensors: Tensors) -> Answer:
        """Name a class that was changed, of all that are known."""
        return {"name": remember()(True)}, ()

    def build_block(self, given: Given, tensors: Tensors) -> Answer:
        """Build one block; a placed one is called as in its stack, with what Z holds there."""
        start_generators(given["seed"])
        block = self._block(given, given["index"])
        if given["placed"]:
            hooks.place_above([self._block(given, index) for index in range(given["index"])], block)
        return self._hold(block, given)

    def _block(self, given: Given, index: int) -> Any:
        place, device = (index, given["blocks"]), given["device"]
        if device:
            return on_meta(lambda: self._block_class(given["width"], place, device=device))
        return self._block_class(given["width"], place, dtype=_dtype(given))

    def build_model(self, given: Given, tensors: Tensors) -> Answer:
        """Build a language model around the block."""
        config = ModelConfig(**given["config"])
        model = LanguageModel(self._block_class, config, dtype=_dtype(given), seed=given["seed"])
        model.embedding.register_forward_hook(self._place)
        return self._hold(model, given)

    def build_trainee(self, given: Given, tensors: Tensors) -> Answer:
        """Build a model that is to be trained."""
        config = ModelConfig(**given["config"])
        return self._hold(trainee.new_model(self._block_class, config, given["seed"]), given)

    def drop(self, given: Given, tensors: Tensors) -> Answer:
        """Let go of what nobody asks for any more."""
        for number in given["numbers"]:
            for held in (self._built, self._parts, self._modes, self._traces, self._notes):
                held.pop(number, None)
        return {}, ()

    def set_places(self, given: Given, tensors: Tensors) -> Answer:
        """Take the vectors that tell the positions of equal tokens apart.

        Several subjects share this side, some of them for short texts alone: of one width the
        longest serve all.
        """
        (places,) = tensors
        length, width = places.shape
        if width not in self._places or length > len(self._places[width]):
            self._places[width] = places
        return {}, ()

    def add(self, given: Given, tensors: Tensors) -> Answer:
        """Add values to all parameters, each times its scale."""
        parameters = self._model(given).parameters()
        with torch.no_grad():
            for each, values, scale in zip(parameters, tensors, given["scales"], strict=True):
                each.add_(values.to(each.dtype) * scale)
        return {}, ()

    def move(self, given: Given, tensors: Tensors) -> Answer:
        """Add normal noise to all parameters, of the size that keeps signals at theirs."""
        parameters = list(self._model(given).parameters())
        sizes = [p.shape for p in parameters]
        drawn = self._drawn.get(given["seed"], [])  # to draw them costs as much as to build a model
        if [d.shape for d in drawn] != sizes:
            generator = torch.Generator().manual_seed(given["seed"])
            drawn = [torch.randn(size, generator=generator) for size in sizes]
            self._drawn[given["seed"]] = drawn
        scales = [given["noise"] * fan_in(tuple(size)) ** -0.5 for size in sizes]
        return self.add({**given, "scales": scales}, drawn)

    def fill(self, given: Given, tensors: Tensors) -> Answer:
        """Replace all parameters."""
        with torch.no_grad():
            for each, values in zip(self._model(given).parameters(), tensors, strict=True):
                each.copy_(values)
        return {}, ()

    def to_double(self, given: Given, tensors: Tensors) -> Answer:
        """Bring a model to fp64, for good."""
        precision.to_double(self._model(given))
        return {}, ()

    # --- outputs ---

    def run(self, given: Given, tensors: Tensors) -> Answer:
        """Run a module; tell whether that moved the global generator."""
        output = self._run(self._model(given), given, tensors)
        now = torch.default_generator.get_state()
        start_generators(given["seed"])
        return {"draws": not torch.equal(torch.default_generator.get_state(), now)}, [output]

    def run_without(self, given: Given, tensors: Tensors) -> Answer:
        """Run a model in which the units at a path of every block do nothing."""
        model = self._model(given)
        with hooks.doing_nothing(self._units(model)[given["path"]]) as called:
            output = self._run(model, given, tensors)
        return {"called": bool(called)}, [output]

    def run_blocks(self, given: Given, tensors: Tensors) -> Answer:
        """Run blocks one after the other, Z carried through."""
        with torch.no_grad():
            return {}, [
                through([self._built[number].eval() for number in given["models"]], *tensors)
            ]

    def layers(self, given: Given, tensors: Tensors) -> Answer:
        """Run a model: the output of every block, and the logits."""
        model = self._model(given)
        blocks: Any = model.blocks
        with ExitStack() as stack:
            if given["bare"]:
                stack.enter_context(self._without_places())
            layers = stack.enter_context(hooks.outputs_of(blocks))
            if given["nearer"]:
                stack.enter_context(hooks.nearer(model, tensors.pop(), given["nearer"]))
            logits = self._run(model, given, tensors)
        return {}, [*layers, logits]

    def reply(self, given: Given, tensors: Tensors) -> Answer:
        """Call a block; what it replies is described, and sent where it is like its input."""
        (X,) = tensors
        start_generators(given["seed"])
        with torch.no_grad():
            made = self._model(given)(X)
        kind = type(made).__name__
        if not isinstance(made, tuple) or len(made) != 2 or not isinstance(made[1], Mapping):
            return {"kind": kind, "pair": False}, ()
        Y = made[0]
        if type(Y) is not Tensor:  # a subclass could answer for itself in every comparison
            return {"kind": type(Y).__name__, "pair": True, "tensor": False}, ()
        described = {"kind": kind, "pair": True, "tensor": True, "dtype": _name(Y.dtype)}
        alike = Y.shape == X.shape and Y.dtype == X.dtype
        return {**described, "shape": list(Y.shape)}, [Y] if alike else ()

    def departure(self, given: Given, tensors: Tensors) -> Answer:
        """Return the calls that led to a block's wrong reply to an input, or to no reply."""
        (X,) = tensors

        def run() -> Any:
            start_generators(given["seed"])
            return self._model(given)(X)

        with torch.no_grad():
            calls = departure(run, self._source.is_ours, X)
        return {"calls": [asdict(call) for call in calls]}, ()

    def call(self, given: Given, tensors: Tensors) -> Answer:
        """Call a block with X and Z, as a model does; what Z holds next to tensors stays here."""
        X, *values = tensors
        start_generators(0)
        with torch.no_grad():
            Y, Z = self._model(given)(X, **dict(zip(given["names"], values, strict=True)))
        named = {name: value for name, value in Z.items() if isinstance(value, Tensor)}
        return {"names": list(named)}, [Y, *named.values()]

    def _run(self, model: nn.Module, given: Given, tensors: Tensors) -> Tensor:
        start_generators(given["seed"])
        with torch.set_grad_enabled(given["gradient"]), lifted(given["wide"]):
            output: Any = model(*tensors)
        result: Tensor = output[0] if isinstance(output, tuple) else output
        return result.detach()

    # --- gradients ---

    def pull(self, given: Given, tensors: Tensors) -> Answer:
        """Return the gradient of the sum of weights times the logits for the embedded tokens.

        By `backward`, as training takes it: reentrant checkpoints know no other way.
        """
        model, (tokens, weights) = self._model(given), tensors
        start_generators(0)
        with lifted(given["wide"]), hooks.inputs_of_blocks(model) as caught:
            output = model(tokens)
            if output.requires_grad:
                output.backward(weights)
        model.zero_grad(set_to_none=True)
        return _some([caught[0].grad])

    def pull_block(self, given: Given, tensors: Tensors) -> Answer:
        """Return a block's output, and where it is finite the gradients for X and parameters."""
        block, (X, weights) = self._model(given), tensors
        block.zero_grad(set_to_none=True)
        X.requires_grad_()
        start_generators(0)
        Y = block(X)[0]
        if not torch.isfinite(Y).all():
            return {"found": []}, [Y]
        (Y * weights).mean().backward()
        found, gradients = _some([X.grad, *(p.grad for p in block.parameters())])
        return found, [Y, *gradients]

    def step(self, given: Given, tensors: Tensors) -> Answer:
        """Take the gradient of a training step: for the embedded tokens, then each parameter."""
        model = self._model(given)
        inputs = _backward(model, *tensors)
        gradients = [None if inputs is None else inputs.grad]
        gradients += [parameter.grad for parameter in model.parameters()]
        answer = _some(gradients)
        model.zero_grad(set_to_none=True)
        return answer

    def origin_of_nan(self, given: Given, tensors: Tensors) -> Answer:
        """Return the line whose derivative is NaN in such a step."""
        model = self._model(given)
        line = precision.origin_of_nan(self._source, lambda: _backward(model, *tensors))
        model.zero_grad(set_to_none=True)
        return {"line": line}, ()

    def autocast(self, given: Given, tensors: Tensors) -> Answer:
        """Run forward and backward under bfloat16 autocast: the output and X's gradient."""
        (X,) = tensors
        X.requires_grad_()
        Y = precision.under_autocast(self._source, self._model(given), X)
        return {}, [Y] if X.grad is None else [Y, X.grad]

    # --- what was built ---

    def units(self, given: Given, tensors: Tensors) -> Answer:
        """Return the units within the blocks: path in the block, and class."""
        units = self._units(self._model(given))
        return {"units": [[path, _class(modules[0])] for path, modules in units.items()]}, ()

    def calls(self, given: Given, tensors: Tensors) -> Answer:
        """Return every unit of a model: path, class, and whether a run calls it."""
        model = self._model(given)
        units = {n: m for n, m in model.named_modules() if is_unit(self._source, m)}
        with hooks.calls_of(units.values()) as called:
            self._run(model, given, tensors)
        return {"units": [[n, _class(m), id(m) in called] for n, m in units.items()]}, ()

    def holder(self, given: Given, tensors: Tensors) -> Answer:
        """Return the innermost unit that holds a parameter, and the attribute that it is in."""
        module, parts = self._model(given), given["name"].split(".")
        unit, attribute = _class(module), parts[0]
        for i, part in enumerate(parts[:-1]):
            module = getattr(module, part)
            if is_unit(self._source, module):
                unit, attribute = _class(module), parts[i + 1]
        return {"unit": unit, "attribute": attribute}, ()

    def numbers(self, given: Given, tensors: Tensors) -> Answer:
        """Return the numbers that the units of a block and its module hold, by name."""
        own = sys.modules.get(self._block_class.__module__)
        units = [m for m in self._model(given).modules() if is_unit(self._source, m)]
        known = {
            (name, value)
            for held in (*units, *([own] if own else []))
            for name, value in vars(held).items()
            if type(value) in (int, float) and abs(value) < 1 << 53  # neither NaN nor infinity
        }
        return {"numbers": [[*pair] for pair in sorted(known)[:_MOST_NUMBERS]]}, ()

    def note(self, given: Given, tensors: Tensors) -> Answer:
        """Remember the state of a model: tensors, and what else it keeps."""
        model = self._model(given)
        state = {name: value.clone() for name, value in model.state_dict().items()}
        self._notes[given["number"]] = state, kept(model, self._block_class.__module__)
        return {}, ()

    def changed(self, given: Given, tensors: Tensors) -> Answer:
        """Return the names of tensors, and of what else is kept, that differ from a note."""
        model = self._model(given)
        before, held = self._notes[given["note"]]
        now = kept(model, self._block_class.__module__)
        after = model.state_dict()
        names = dict.fromkeys((*after, *before))  # a call may add some, and drop others
        state = [n for n in names if not _same(after.get(n), before.get(n))]
        return {
            "tensors": state[:_MOST_NUMBERS],
            "kept": sorted(n for n in held.keys() | now if held.get(n) != now.get(n))[:1],
        }, ()

    # --- who did it ---

    def trace(self, given: Given, tensors: Tensors) -> Answer:
        """Run as `run` does, and keep the calls of the units."""
        model = self._model(given)
        self._traces[given["number"]] = blame.trace(
            model,
            self._source,
            lambda: self._run(model, given, tensors),
            without_detached=given["without_detached"],
        )
        return {}, ()

    def first_different(self, given: Given, tensors: Tensors) -> Answer:
        """Return the place where two traces part, each seen through a view."""
        one, other = (self._traces[number] for number in given["traces"])
        views = [_VIEWS[name](*of) for name, *of in given["views"]]
        unit, line = blame.first_different((one, other), (views[0], views[1]), given["tolerance"])
        return {"unit": unit, "line": line}, ()

    def first_nonfinite(self, given: Given, tensors: Tensors) -> Answer:
        """Return the place of a trace that made NaN or infinity of finite values."""
        unit, line = blame.first_nonfinite(self._traces[given["trace"]])
        return {"unit": unit, "line": line}, ()

    # --- costs and training ---

    def structure(self, given: Given, tensors: Tensors) -> Answer:
        """Return a digest of the structure of every layer of a stack."""
        return {"layers": structure_of(self._block_class, given["blocks"])}, ()

    def parameters_of(self, given: Given, tensors: Tensors) -> Answer:
        """Return the shapes of a model's parameters; nothing is allocated."""
        model = meta_model(self._block_class, ModelConfig(**given))
        return {"shapes": [list(parameter.shape) for parameter in model.parameters()]}, ()

    def cost(self, given: Given, tensors: Tensors) -> Answer:
        """Count operations and calls of a block, the mean of a stack."""
        found = count_cost(self._block_class, **given)
        return {"operations": found.operations, "calls": found.calls}, ()

    def run_without_values(self, given: Given, tensors: Tensors) -> Answer:
        """Run blocks on the meta device."""
        on_meta(partial(run_without_values, self._block_class, **given))
        return {}, ()

    def saved(self, given: Given, tensors: Tensors) -> Answer:
        """Count the bytes that a block keeps for its backward pass, the mean of a stack."""
        return {"bytes": saved_bytes(self._block_class, **given)}, ()

    def flops(self, given: Given, tensors: Tensors) -> Answer:
        """Count the operations of a model, per token."""
        config = ModelConfig(**given["config"])
        return {"flops": flops_per_token(self._block_class, config, given["device"])}, ()

    def forward_and_backward(self, given: Given, tensors: Tensors) -> Answer:
        """Run blocks one after the other, and back; whoever asks looks at the clock."""
        (X,) = tensors
        forward_and_backward([self._built[number] for number in given["models"]], X)
        return {}, ()

    def logits(self, given: Given, tensors: Tensors) -> Answer:
        """Return the logits of tokens."""
        return {}, [trainee.logits_of(self._model(given), *tensors)]

    def train(self, given: Given, tensors: Tensors) -> Answer:
        """Take a step for each batch; return the logits before each."""
        inputs, targets = tensors
        return {}, [trainee.take_steps(self._model(given), inputs, targets, given["seed"])]

    # --- inside ---

    def _holding(self, given: Given) -> AbstractContextManager[None]:
        """Hold the buffers of a model that is to stay as it is in train mode too."""
        stays = given.get("steady") and given["training"]
        return buffers_kept(self._built[given["model"]]) if stays else nullcontext()

    def _hold(self, module: nn.Module, given: Given) -> Answer:
        self._built[given["number"]] = module
        self._parts[given["number"]] = list(module.modules())
        return {
            "unit": _class(module),
            "parameters": [
                [n, list(p.shape), _name(p.dtype), p.device.type, p.requires_grad]
                for n, p in module.named_parameters()
            ],
        }, ()

    def _model(self, given: Given) -> nn.Module:
        """Return a model in the mode that is asked for; to set it takes as long as a short run.

        It is set where it was another one, and once at least: a block may see that it is.
        """
        number, mode = given["model"], given["training"]
        module, parts = self._built[number], self._parts[number]
        if self._modes.get(number) is not mode or any(p.training is not mode for p in parts):
            module.train(mode)
            self._modes[number] = mode
        return module

    def _units(self, model: nn.Module) -> dict[str, list[nn.Module]]:
        """Return the units within the blocks by their path in the block."""
        found: dict[str, list[nn.Module]] = {}
        blocks: Any = model.blocks if isinstance(model, LanguageModel) else [model]
        for block in blocks:
            for name, module in block.named_modules():
                if name and is_unit(self._source, module):
                    found.setdefault(name, []).append(module)
        return found

    def _place(self, _embedding: nn.Module, _inputs: Any, output: Tensor) -> Tensor | None:
        if self._bare:
            return None
        places = self._places[output.shape[-1]]
        return output + places[: output.shape[1]].to(output.dtype)

    @contextmanager
    def _without_places(self) -> Iterator[None]:
        """Leave embedded tokens as a training has them."""
        self._bare = True
        try:
            yield
        finally:
            self._bare = False


_VIEWS: Mapping[str, Callable[..., View]] = {
    "whole": lambda: blame.whole,
    "prefix": blame.prefix,
    "sequences": blame.sequences,
}


def _backward(model: nn.Module, tokens: Tensor, targets: Tensor) -> Tensor | None:
    """Take one training step's gradient; return the blocks' input."""
    model.zero_grad(set_to_none=True)
    start_generators(0)
    with hooks.inputs_of_blocks(model) as caught:
        logits = model(tokens)
    loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    loss.backward()  # type: ignore[no-untyped-call]
    return caught[0] if caught else None


def _some(tensors: list[Tensor | None]) -> Answer:
    """Return which tensors are there, and those."""
    there = [tensor for tensor in tensors if tensor is not None]
    return {"found": [tensor is not None for tensor in tensors]}, there


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return False
    return one.shape == other.shape and bool((one == other).all())


def _class(module: nn.Module) -> str:
    return type(module).__name__


def _dtype(given: Given) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, given["dtype"])
    return dtype


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


remember()  # once, by the template that every block's process is forked from
