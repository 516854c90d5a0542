#!/usr/bin/env bash
# torch 2.13.0 (onnx 1.23.2, onnxscript 0.7.2): torch.onnx.export(dynamo=True) freezes a size that
# was declared dynamic, and reports success.
#
# `torch.export.export` of the same module with the same `Dim("time", max=64)` raises
# ConstraintViolationError/UserError, since a Python loop over chunks depends on the length.
# torch.onnx.export reports that its own torch.export.export succeeded, and takes the length of the
# example for granted: the graph that comes back, without an exception, has the input ["batch", 3]
# in place of ["batch", "time"].  One would expect the same error.
#
# Seen:
#   torch.export.export: UserError
#   torch.onnx.export:   input ['batch', 3]
#
# Exits 0 while that is so.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 "$work/venv/bin/python" - 2> log <<'PY'
import sys

import torch
from torch import nn
from torch.export import Dim


class RunningSum(nn.Module):
    """Sums x (batch, time) over time, in chunks of four."""

    def forward(self, x):
        x = nn.functional.pad(x, (0, -x.shape[1] % 4))
        parts, carry = [], torch.zeros(x.shape[0], 1)
        for chunk in x.split(4, 1):
            parts.append(chunk.cumsum(1) + carry)
            carry = parts[-1][:, -1:]
        return torch.cat(parts, 1)


example = (torch.ones(2, 3),)
sizes = ({0: Dim("batch"), 1: Dim("time", max=64)},)
try:
    torch.export.export(RunningSum(), example, dynamic_shapes=sizes)
    raised = ""
except Exception as error:
    raised = type(error).__name__
graph = torch.onnx.export(RunningSum(), example, dynamo=True, dynamic_shapes=sizes)
(taken,) = graph.model.graph.inputs
shape = [size if isinstance(size, int) else size.value for size in taken.shape]
print("torch.export.export:", raised)
print("torch.onnx.export:   input", shape)
sys.exit(0 if raised and shape == ["batch", 3] else 1)
PY
