"""No output depends on a later input, and some output depends on an earlier one.

The suffix is replaced by fresh random tokens (never flipped in sign or shifted: an even
function of the future would pass), in fp64, through the whole model with Z carried along, with
initial and with moved parameters (a gate that is zero hides a leak), at every position of a
short length and at several of the training context, in eval and in train mode.  A second test
asks the gradient: no output may pull on a later input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from genesys_engine.gab.checks import blame
from genesys_engine.gab.checks.gradient import origin_of_nan
from genesys_engine.gab.checks.numbers import difference
from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.gab.checks.subject import Subject

# fp64 rounding is 1e-16; a long sum or a transform may make 1e-12 of it.
LEAK = 1e-9
MIXES = 1e-6
_LENGTH = 31


def check_causality(subject: Subject) -> Iterator[Finding]:
    """`causality.leak` and `causality.gradient`; stops at the first."""
    models = {"initial": subject.model(), "moved": subject.opened()}
    for probe in (_replace_in_eval, _replace_in_training):
        for state, model in models.items():
            found = probe(subject, model, state)
            if found is not None:
                yield found
                return
    found = _gradient(subject, models["moved"])
    if found is not None:
        yield found


def check_mixing(subject: Subject) -> Iterator[Finding]:
    """`mixing.none`: with everything before it replaced, the last output stays as it was."""
    model = subject.opened().eval()
    tokens = subject.tokens(1, _LENGTH)
    others = tokens.clone()
    others[:, :-1] = subject.other_tokens(tokens[:, :-1])
    one, other = subject.run(model, tokens), subject.run(model, others)
    change = difference(one[:, -1], other[:, -1])
    if not change > MIXES:
        text = "The last output stays the same when every earlier token is replaced."
        yield finding("mixing.none", text, {"length": _LENGTH, "change": change})


def _replace_in_eval(subject: Subject, model: nn.Module, state: str) -> Finding | None:
    """Replace suffixes, one row of a batch for each cut (the batch was found not to mix)."""
    model.eval()
    for length in (2, _LENGTH, subject.long):
        tokens = subject.tokens(1, length)
        cuts = _cuts(length)
        rows = torch.cat([tokens, *(_with_new_suffix(subject, tokens, cut) for cut in cuts)])
        output = subject.run(model, rows)
        for row, cut in enumerate(cuts, start=1):
            found = _compare(subject, model, output[0], output[row], rows[[0, row]], cut, state)
            if found is not None:
                return found
    return None


def _replace_in_training(subject: Subject, model: nn.Module, state: str) -> Finding | None:
    """The same in train mode, one sequence at a time: dropout draws alike then."""
    model.train()
    tokens = subject.tokens(1, _LENGTH)
    before = subject.run(model, tokens)
    for cut in (1, 16, _LENGTH - 1):
        other = _with_new_suffix(subject, tokens, cut)
        after = subject.run(model, other)
        rows = torch.cat([tokens, other])
        found = _compare(subject, model, before[0], after[0], rows, cut, f"{state}, training")
        if found is not None:
            return found
    return None


def _cuts(length: int) -> Sequence[int]:
    """Return every position of a short length, and several of a long one."""
    if length <= _LENGTH:
        return range(1, length)
    half = length // 2
    return sorted({1, length // 4, half - 1, half, half + 1, 3 * length // 4, length - 1})


def _with_new_suffix(subject: Subject, tokens: Tensor, cut: int) -> Tensor:
    other = tokens.clone()
    other[:, cut:] = subject.other_tokens(tokens[:, cut:], salt=100 + cut)
    return other


def _compare(
    subject: Subject,
    model: nn.Module,
    before: Tensor,
    after: Tensor,
    rows: Tensor,
    cut: int,
    state: str,
) -> Finding | None:
    """Compare outputs (time, vocabulary) before `cut`; on a leak, find the unit that did it."""
    change = difference(before[:cut], after[:cut])
    if change <= LEAK:
        return None
    length = rows.shape[1]
    worst = (before[:cut] - after[:cut]).abs().amax(-1)
    position = int((~(worst <= LEAK * before.abs().max())).int().argmax())
    view = blame.prefix(cut, length)
    runs = subject.trace(model, rows[:1]), subject.trace(model, rows[1:])
    place = blame.first_different(runs, (view, view), LEAK)
    text = f"New tokens from position {cut} on change the output at position {position}."
    evidence: dict[str, Evidence] = {
        "length": length,
        "cut": cut,
        "position": position,
        "change": change,
        "parameters": state,
    }
    return finding("causality.leak", text, evidence, place=place)


def _gradient(subject: Subject, model: nn.Module) -> Finding | None:
    """Ask the gradient of the outputs before a cut for the inputs from the cut on."""
    model.eval()
    for length in (_LENGTH, subject.long):
        with subject.inputs_of_blocks(model) as caught:
            output = model(subject.tokens(1, length))
        weights = torch.randn(output.shape, generator=subject.generator(7), dtype=output.dtype)
        if not output.requires_grad:
            return None  # the gradient's own check says so
        for cut in (1, 8, 16, length // 2, length - 1):
            loss = (output * weights)[:, :cut].sum()
            (slope,) = torch.autograd.grad(loss, caught[:1], retain_graph=True, allow_unused=True)
            if slope is None:
                return None
            if not torch.isfinite(slope).all():
                text = "The gradient for the blocks' input is NaN or infinite."
                place = origin_of_nan(subject, model, length)
                return finding("gradient.nonfinite", text, {"length": length}, place=place)
            size = float(slope[:, :cut].abs().max())
            change = float(slope[:, cut:].abs().max()) / max(size, 1e-300)
            if not change <= LEAK:
                text = f"Outputs before position {cut} have a gradient for inputs from it on."
                evidence: dict[str, Evidence] = {"length": length, "cut": cut, "change": change}
                return finding("causality.gradient", text, evidence)
    return None
