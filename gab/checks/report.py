"""The result of a check: findings with stable codes, and a report with measurements."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from genesys_engine.gab.checks.trace import Trace

_IMPORTS = (
    "torch, einops and modules of pure computation: math, functools, itertools, collections, "
    "dataclasses, enum, typing"
)
# Every code there is, with what to change.  Codes are stable: operators, the store and plugins
# rely on them; the sentences may be improved.
ADVICE: Mapping[str, str] = {
    "static.no_class": "Define the class, as a subclass of torch.nn.Module, or name another one "
    "with --class.",
    "static.constructor": "Write `def __init__(self, embed_dim, block_loc, device=None, "
    "dtype=None)`.",
    "static.forward": "Write `def forward(self, X, **Z)` and return X or (X, Z).",
    "static.import": f"Use only {_IMPORTS}. An import that the block can do without belongs into a "
    "`try` with `except ImportError`.",
    "static.interpreter": "Remove it: a block computes on tensors and needs neither files nor "
    "frames nor the import system.",
    "static.attribute": "Remove it: it belongs to a module that reaches the machine. An attribute "
    "of your own must be defined in the class that has it.",
    "patch.outside": "Write only to attributes of self and to tensors of your own, and define no "
    "method that nn.Module or Tensor has for itself: a block changes nothing outside of it.",
    "static.left_out": "Nothing need be changed: the block is checked, trained and evaluated "
    "without it. To train compiled, set `[trainer] compile`.",
    "static.unused": "Use the submodule in forward, or remove it.",
    "load.syntax": "Mend the syntax error at the line that is named.",
    "load.error": f"The module must import by itself: use only {_IMPORTS}, and define every name "
    "before it is used.",
    "build.error": "Mend the constructor: it must build at every width that is a multiple of 16 "
    "and every choice of its hyper-parameters.",
    "build.options": "Hand device and dtype on to every layer and parameter: "
    "nn.Linear(..., device=device, dtype=dtype).",
    "parameters.none": "Give the block trainable parameters (nn.Parameter, nn.Linear ...).",
    "scale.misfit": "Change the number of parameters per block, so that a model of the scale's "
    "size can be built from whole blocks with a width that is a multiple of 16.",
    "forward.error": "Mend the forward pass: it must work for any batch size, any length from 1 "
    "on and every width that is a multiple of 16.",
    "reply.wrong": "forward(X, **Z) must return a pair: the new X, and Z as a dict.",
    "shape.wrong": "The output must have the input's shape (batch, time, width) at every length.",
    "dtype.wrong": "The output must have the input's dtype: create tensors with dtype=X.dtype.",
    "output.nonfinite": "Keep the output finite: bound exponents, add an epsilon under square "
    "roots and divisions, and don't take the logarithm of zero.",
    "output.overflow": "Normalise what comes in, or bound exponents and powers: trained models "
    "feed values of this size.",
    "output.explodes": "Keep the size of the output independent of the position: decay or "
    "normalise what is summed over time.",
    "state.kept": "Keep nothing between calls: forward must not assign to attributes or buffers.",
    "determinism.random": "Use no randomness in eval mode: guard dropout and noise with "
    "self.training.",
    "batch.mixed": "Treat every sequence of the batch by itself: no statistics, softmax or "
    "reshaping across the batch; give nn.GRU, nn.LSTM and nn.MultiheadAttention batch_first=True, "
    "take [0] of a pair and never of a tensor, and use RMSNorm or LayerNorm for batch norm.",
    "causality.leak": "The output at a position must not depend on later positions: mask the "
    "future, pad convolutions on the left only, and take no mean, maximum or norm over time.",
    "causality.gradient": "A gradient flows from an output to a later input: mask the future "
    "before it is combined, not after.",
    "causality.length": "The output must not depend on the length of the input: divide by the "
    "position and not by the length, and pad on the left only.",
    "mixing.none": "The output at a position depends on no earlier position: let the block "
    "combine information over time (attention, recurrence, causal convolution, token shift).",
    "mode.differs": "Compute the same in train and in eval mode but for dropout and noise.",
    "autocast.error": "Don't mix dtypes by hand: let every product go through torch functions, "
    "cast with .to(X.dtype), and return X's dtype.",
    "gradient.blocked": "The loss reaches no input of the block: remove detach(), no_grad() and "
    "operations without a gradient.",
    "gradient.missing": "The loss does not reach this parameter in any block: use it in forward, "
    "or remove it.",
    "gradient.partial": "The loss reaches this parameter in some blocks only: create it where "
    "it is used.",
    "gradient.nonfinite": "Keep the gradient finite: add an epsilon under square roots and "
    "divisions, and clamp before exp or log.",
    "gradient.differs": "The gradient is not the slope of the output: right for an estimator that "
    "passes a step by, else correct the backward pass.",
    "unit.unreached": "This unit is built but its forward is never called: use it or remove it.",
    "unit.dead": "Without this unit the block computes the same: connect its output, or remove it.",
    "function.same": "Change what the block computes, not only how it is written.",
    "cost.quadratic_loop": "Replace the nested Python loops by matrix products, cumulative sums "
    "or a chunked scan.",
    "cost.growth": "Bring the work down to the square of the length or less.",
    "cost.loop": "A Python loop over time is slow: use a parallel form or a scan in chunks, if "
    "there is one.",
    "cost.flops": "Use fewer or narrower matrix products.",
    "cost.memory": "Keep smaller intermediate tensors: no expanded (time, time, width) products.",
    "cost.slow": "Use fewer and larger tensor operations.",
    "training.flat": "The block keeps the model from learning: look for saturated gates, wrong "
    "signs in custom gradients and outputs that drown the residual stream.",
    "training.slow": "The model learns less with this block than without it: keep the residual "
    "path open and the initial output small.",
    "training.too_good": "The block sees the tokens that it is to predict: look for a path from "
    "later positions that opens in training only.",
    "check.timeout": "Make the block cheaper: it did not finish its check in time.",
    "check.memory": "Make the block smaller in memory.",
    "check.crashed": "The block ended the process; use plain PyTorch operations.",
    "check.error": "The block raised where it must not.",
    "check.bad_reply": "The block interfered with its own check: let it compute on tensors only.",
    "machine.unsupported": "This is a limit of PyTorch on this machine and no fault of the block. "
    "To have the block checked here, take another path where X is on a CPU: "
    "scaled_dot_product_attention with a mask, or float32 for this operation.",
    "device.bound": "Create tensors in forward on X's device (device=X.device) and take no "
    "values out of tensors (.item(), bool(tensor)): it would fail or be slow on an accelerator.",
}

Evidence = float | int | str
Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One fault: a stable code, its place, its evidence as numbers, and the remedy.

    `unit` is the class and `line` the line in the composed source, where they are known; `trace`
    is what was seen there, where the block's own code was running.
    """

    code: str
    severity: Severity
    message: str
    advice: str
    unit: str | None = None
    line: int | None = None
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    trace: Trace | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Finding:
        """Return the finding that `dataclasses.asdict` wrote, by this version or an older one.

        Raises:
            KeyError, TypeError, ValueError: it is not of that form.
        """
        trace = data.get("trace")
        return cls(**{**data, "trace": None if trace is None else Trace.from_json(trace)})

    def __str__(self) -> str:
        """Return one line for people: place, fault and remedy."""
        place = f"{self.unit or 'block'}" + (f", line {self.line}" if self.line else "")
        return f"{self.severity} {self.code} ({place}): {self.message} {self.advice}"


@dataclass(frozen=True)
class CheckReport:
    """All findings of one block, with its measurements.

    `measurements` holds `fits` (scale -> d_model, n_blocks, context, vocab_size, parameters,
    reference), `flops_per_token` (scale -> number), `fingerprint` (hex), and where layers differ
    `layers` (the kind of each of a dozen layers), as far as the checks came.
    """

    findings: tuple[Finding, ...] = ()
    measurements: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether no finding is an error."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {
            "passed": self.passed,
            "findings": [asdict(finding) for finding in self.findings],
            "measurements": dict(self.measurements),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CheckReport:
        """Return the report that `to_json` wrote.

        Raises:
            KeyError, TypeError: it was not written by `to_json`.
        """
        findings = tuple(map(Finding.from_json, data["findings"]))
        return cls(findings, dict(data["measurements"]))


def finding(
    code: str,
    message: str,
    evidence: Mapping[str, Evidence],
    *,
    place: tuple[str | None, int | None] = (None, None),
    severity: Severity = "error",
    trace: Trace | None = None,
) -> Finding:
    """Return a finding of a known code with its advice; `place` is (unit, line)."""
    portable = {name: _portable(value) for name, value in evidence.items()}
    said = _without_folders(message)
    return Finding(code, severity, said, ADVICE[code], *place, portable, trace or None)


def _portable(value: Evidence) -> Evidence:
    """Return the same evidence for JSON and for every machine."""
    if isinstance(value, str):
        return _without_folders(value)
    # NaN and infinity are no JSON: as words they are.
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _without_folders(text: str) -> str:
    """Return `text` with files of installed packages named from the package on.

    A finding is read by language models: where Python is installed is not theirs to know, and
    such a prompt would differ on the next machine.
    """
    folders = {folder.rstrip(os.sep) for folder in sys.path if Path(folder).is_absolute()}
    for folder in sorted(folders - {""}, key=len, reverse=True):
        text = text.replace(folder + os.sep, "")
    return text
