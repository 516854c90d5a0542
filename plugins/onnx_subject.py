"""The operations of an export to ONNX: a candidate's model, turned into a graph in its own process.

PyTorch traces the model, and so runs its code; what comes out is a file in the subject's folder.
Nothing of it is believed: the judge (`onnx_job`) runs the file and compares.

Imports torch and its exporter when it is asked: workers only.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genesys_engine.plugins.models import build_model, context_of

if TYPE_CHECKING:
    from torch import Tensor

    from genesys_engine.plugins.sandbox.subject import Operations

SUBJECT = "genesys_engine.plugins.onnx_subject:operations"
TRACED = "traced.onnx"
INPUT, OUTPUT = "tokens", "logits"
OPERATOR = re.compile(r"(?:aten|prims|higher_order)\.\w+")
Axes = Literal["batch and length", "batch", "none"]
"""Which sizes of the input the graph leaves open."""


def operations(scratch: Path) -> Operations:
    """Return the operations, which have one model in common."""
    traced = _Traced(scratch)
    return {"build": traced.build, "trace": traced.trace, "logits": traced.logits}


class _Traced:
    """The model that is exported."""

    def __init__(self, scratch: Path) -> None:
        self._folder = scratch
        self._model: Any = None

    def build(
        self, arguments: dict[str, Any], tensors: Sequence[Tensor]
    ) -> tuple[dict[str, Any], list[Tensor]]:
        """Build the model with the weights of a `checkpoint`; else as `models.build_model`."""
        from genesys_engine.plugins.checkpoint import load_checkpoint

        model = build_model(arguments, "cpu")
        load_checkpoint(model, Path(arguments["checkpoint"]))
        self._model = model.eval()
        return {}, []

    def trace(
        self, arguments: dict[str, Any], tensors: Sequence[Tensor]
    ) -> tuple[dict[str, Any], list[Tensor]]:
        """Write the graph with these open `axes` to the file `TRACED`.

        `torch.export` is called by itself, since it raises where a size cannot stay open:
        `torch.onnx.export` of a module fixes it (findings/torch-onnx-open-size-frozen.sh).
        """
        import torch

        logging.disable(logging.WARNING)
        warnings.simplefilter("ignore")
        with torch.no_grad():
            program = torch.export.export(
                _model_without_checks(self._model),
                (_example(context_of(self._model), arguments["axes"]),),
                dynamic_shapes=_shapes(context_of(self._model), arguments["axes"]),
                strict=False,
            )
        try:
            made: Any = torch.onnx.export(
                program, dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT]
            )
        except Exception as error:
            raise RuntimeError(_line_of(program, str(error))) from error
        made.save(self._folder / TRACED)
        return {}, []

    def logits(
        self, arguments: dict[str, Any], tensors: Sequence[Tensor]
    ) -> tuple[dict[str, Any], list[Tensor]]:
        """Return the logits (B, T, V) of tokens (B, T), as PyTorch computes them."""
        import torch

        with torch.inference_mode():
            return {}, [self._model(tensors[0]).float()]


def _line_of(program: Any, text: str) -> str:
    """Return the line of the block that called an operator which `text` names; "" for none."""
    for name in OPERATOR.findall(text):
        for node in program.graph.nodes:
            if node.op == "call_function" and name.rpartition(".")[2] in str(node.target):
                lines = str(node.meta.get("stack_trace", "")).splitlines()
                return next((line for line in reversed(lines) if "<genesys_block_" in line), "")
    return ""


def _example(context: int, axes: Axes) -> Tensor:
    """Return tokens to trace with: sizes that are open are none that code may treat apart."""
    import torch

    return torch.zeros(1 if axes == "none" else 3, context, dtype=torch.int64)


def _shapes(context: int, axes: Axes) -> Any:
    from torch.export import Dim

    if axes == "none":
        return None
    batch = {0: Dim("batch")}
    return (batch if axes == "batch" else {**batch, 1: Dim("length", max=context)},)


def _model_without_checks(model: Any) -> Any:
    """Return the forward pass of `LanguageModel`, without its look at the type of what a block
    gave: the tracer computes with a subclass of its own."""
    import torch
    from torch.nn import functional

    class Forward(torch.nn.Module):
        """Tokens (B, T) to logits (B, T, V)."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.blocks, self.norm = model.embedding, model.blocks, model.norm

        def forward(self, tokens: Tensor) -> Tensor:
            """See the class."""
            X: Tensor = self.embedding(tokens)
            Z: dict[str, Any] = {}
            for block in self.blocks:
                X, Z = block(X, **Z)
            return functional.linear(self.norm(X), self.embedding.weight)

    return Forward().eval()
