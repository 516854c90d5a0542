"""The job that exports a trained model to ONNX, and proves that the graph computes the same.

The job is the judge: it runs nothing of the candidate's code.  The subject (`onnx_subject`) traces
its model and answers with logits; the judge runs the file with onnxruntime on tokens of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.gab.raised import Raised
from genesys_engine.plugins.onnx_subject import INPUT, OPERATOR, OUTPUT, TRACED, Axes
from genesys_engine.plugins.sandbox.subject import SUBJECT_FOLDER, Asked, SubjectRaised

if TYPE_CHECKING:
    from torch import Tensor

EXPORTED = "model.onnx"
ATTEMPTS: tuple[Axes, ...] = ("batch and length", "batch", "none")
"""The most useful graph first."""
TOLERANCE = 1e-4  # of the largest logit; float32 in another order makes 1e-6
MOST_BYTES = 2**31 - 1  # of a protocol buffer: more would need weights in files of their own
_LINE = re.compile(r"<genesys_block_[0-9a-f]+_\d+>\"?,? line (\d+)")


def export(payload: Mapping[str, Any], scratch: Path, subject: Asked) -> dict[str, Any]:
    """Write the graph of a model to `EXPORTED`, with as many open sizes as its code allows.

    Payload: `source` (composed module), `model` (d_model, n_blocks, vocab_size, context), `seed`,
    `checkpoint` (path), `metadata` (text by name, kept in the file).

    Returns `axes`, `difference` (the largest of two logits), `compared` (shapes), and `refused`:
    for each attempt that failed its `axes`, `reason`, `line` of the source and `operator`.  With no
    `axes` nothing was written.
    """
    model = payload["model"]
    built = {key: payload[key] for key in ("source", "model", "seed", "checkpoint")}
    subject.ask("build", built)
    refused: list[dict[str, Any]] = []
    for axes in ATTEMPTS:
        try:
            subject.ask("trace", {"axes": axes})
        except SubjectRaised as error:
            refused.append({"axes": axes, **_reason(error.raised)})
            continue
        graph = scratch / EXPORTED
        _rewrite(scratch / SUBJECT_FOLDER / TRACED, graph, payload["metadata"], axes)
        shapes = list(_shapes(axes, model["context"]))
        difference, limit = _difference(graph, subject, shapes, model["vocab_size"])
        if difference <= limit:
            found = {"axes": axes, "difference": difference, "compared": shapes}
            return {**found, "refused": refused}
        graph.unlink()
        reason = f"the graph differs from PyTorch by {difference:.3g} in a logit"
        refused.append({"axes": axes, "reason": reason, "line": None, "operator": ""})
    return {"axes": "", "difference": 0.0, "compared": [], "refused": refused}


def _shapes(axes: Axes, context: int) -> Iterator[list[int]]:
    """Yield the shapes of tokens that are compared: short, odd and whole, alone and together."""
    if axes != "batch and length":
        yield from ([batch, context] for batch in ((1,) if axes == "none" else (1, 2, 5)))
        return
    lengths = {1, 2, 7, context // 2, context // 2 + 1, context - 1, context}
    for number, length in enumerate(sorted(each for each in lengths if each > 0)):
        yield [1 + number % 3, length]


def _difference(
    graph: Path, subject: Asked, shapes: list[list[int]], vocabulary: int
) -> tuple[float, float]:
    """Return the largest difference of two logits, and what it may be."""
    import numpy as np
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(graph), options, ["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    worst = largest = 0.0
    for shape in shapes:
        tokens = torch.randint(vocabulary, shape, generator=generator)
        expected = _logits(subject, tokens, vocabulary)
        (made,) = session.run([OUTPUT], {INPUT: tokens.numpy()})
        if made.shape != tuple(expected.shape) or not np.isfinite(made).all():
            return float(np.finfo(np.float32).max), 0.0
        worst = max(worst, float((torch.from_numpy(made) - expected).abs().max()))
        largest = max(largest, float(expected.abs().max()))
    return worst, TOLERANCE * max(1.0, largest)


def _logits(subject: Asked, tokens: Tensor, vocabulary: int) -> Tensor:
    _, (made,) = subject.ask("logits", {}, [tokens])
    if made.shape != (*tokens.shape, vocabulary):
        raise ValueError(f"logits of the shape {tuple(made.shape)}")
    return made


def _rewrite(source: Path, target: Path, metadata: Mapping[str, str], axes: Axes) -> None:
    """Write the graph anew: what it computes, with our words, and names for its open sizes.

    The exporter notes for each node where in which file it came from; that is left out.

    Raises:
        ValueError: it is too large, or names another file for its weights.
    """
    import onnx

    if source.stat().st_size > MOST_BYTES:
        raise ValueError("the graph exceeds the 2 GiB of one ONNX file")
    model = onnx.load(str(source), load_external_data=False)
    if any(onnx.external_data_helper.uses_external_data(each) for each in _tensors(model)):
        raise ValueError("the graph keeps its weights in another file")
    _forget(model)
    del model.graph.value_info[:]
    _name_sizes(model.graph, axes)
    model.producer_name = "genesys-engine"
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    target.write_bytes(model.SerializeToString())


def _tensors(model: Any) -> Iterator[Any]:
    """Yield all tensors of a graph, those of attributes too."""
    import onnx

    yield from model.graph.initializer
    graphs = [model.graph, *model.functions]
    for graph in graphs:
        for node in graph.node:
            for attribute in node.attribute:
                yield from (attribute.t, *attribute.tensors)
                inner = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else []
                graphs += [*inner, *attribute.graphs]
        yield from getattr(graph, "initializer", ()) if graph is not model.graph else ()


def _forget(message: Any) -> None:
    """Clear what a message and those within it say in words."""
    for name in ("doc_string", "metadata_props"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.name == "TensorProto":
            continue
        for each in value if isinstance(value, list) or hasattr(value, "add") else (value,):
            _forget(each)


def _name_sizes(graph: Any, axes: Axes) -> None:
    """Call the open sizes `batch` and `length`."""
    opened = {"batch and length": ("batch", "length"), "batch": ("batch",), "none": ()}[axes]
    for value in (*graph.input, *graph.output):
        for size, name in zip(value.type.tensor_type.shape.dim, opened, strict=False):
            size.dim_param = name


def _reason(raised: Raised) -> dict[str, Any]:
    """Return why PyTorch could not trace the model: the cause, the line and the operator."""
    causes = [raised]
    while causes[-1].cause is not None:
        causes.append(causes[-1].cause)
    lines = [
        frame.line
        for each in causes
        for frame in each.frames
        if frame.file.startswith("<genesys_block_")
    ]
    texts = "\n".join(each.text for each in reversed(causes))
    named = [int(line) for line in _LINE.findall(texts)]
    operators = OPERATOR.findall(texts)
    return {
        "reason": _first_sentence(causes),
        "line": next(iter([*named[-1:], *lines[-1:]]), None),
        "operator": operators[0] if operators else "",
    }


def _first_sentence(causes: list[Raised]) -> str:
    """Return the first line of the innermost cause that says something."""
    for each in reversed(causes):
        for line in each.text.splitlines():
            if line.strip() and not _LINE.search(line):
                said = line.strip().partition(" For more information")[0]
                return f"{each.kinds[0]}: {said[:300]}"
    return causes[-1].kinds[0]
