"""No output depends on a later input, and some output depends on an earlier one.

The suffix is replaced by fresh random tokens (never flipped in sign or shifted: an even
function of the future would pass), in fp64, through the whole model with Z carried along, with
initial and with moved parameters (a gate that is zero hides a leak), at every position of a
short length and at several of the training context, in eval and in train mode.  The output of
every layer is compared, not the model's alone.  A second test asks the gradient: no output may
pull on a later input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from genesys_engine.gab.checks import blame
from genesys_engine.gab.checks.gradient import origin_of_nan
from genesys_engine.gab.checks.numbers import difference, worst
from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.gab.checks.subject import Subject

# fp64 rounding is 1e-16; a long sum or a transform may make 1e-12 of it.
LEAK = 1e-9
# The same in fp32, whose rounding is 1e-7.
LEAK_FP32 = 1e-3
MIXES = 1e-6
_LENGTH = 31
_BEGINNING = 9  # whole chunks of no size: what a chunk keeps to itself is seen as well
_VERY_LONG = 256


def check_causality(subject: Subject) -> Iterator[Finding]:
    """`causality.leak` and `causality.gradient`; stops at the first."""
    moved = subject.shared
    for state, model, lengths in (
        ("initial", subject.model(), (_LENGTH + 1,)),  # one more: fewer cuts
        ("moved", moved, (2, _LENGTH, subject.long)),
    ):
        found = probe_rows(subject, model, state, lengths)
        if found is not None:
            yield found
            return
    found = _replace_in_training(subject, moved, "moved") or _gradient(
        subject, moved, (_LENGTH, subject.long)
    )
    if found is not None:
        yield found


def check_causality_fast(subject: Subject) -> Iterator[Finding]:
    """The same with moved parameters, in eval mode and at fewer cuts, where nearly all leaks show.

    Most of the time of a fast audit goes here, and it grows with the rows.
    """
    model = subject.shared
    found = probe_rows(subject, model, "moved", (_LENGTH, subject.long), few=True)
    found = found or _gradient(subject, model, (_LENGTH,))
    if found is not None:
        yield found


def check_causality_as_trained(subject: Subject) -> Iterator[Finding]:
    """`causality.leak` in fp32, in train mode, in a batch and with a graph: as training runs it.

    What leaks in one dtype, mode or batch size only does not show in fp64.
    """
    model = subject.model(noise=subject.noise, dtype=torch.float32)
    found = _replace_in_training(subject, model, "moved, fp32", rows=4, tolerance=LEAK_FP32)
    if found is not None:
        yield found


def check_lengths(subject: Subject) -> Iterator[Finding]:
    """`causality.length`: a prefix alone gives what it gives within a longer input.

    Where it does not, the output depends on how much text will follow.
    """
    tokens, whole = subject.answer
    model, length = subject.shared.eval(), tokens.shape[1]
    for cut in (1, 16, length - 1):
        change = difference(whole[:, :cut], subject.run(model, tokens[:, :cut]))
        if not change <= LEAK:
            text = f"The first {cut} of {length} tokens give another output when they are alone."
            evidence: dict[str, Evidence] = {"length": length, "cut": cut, "change": change}
            yield finding("causality.length", text, evidence)
            return


def check_mixing(subject: Subject) -> Iterator[Finding]:
    """`mixing.none`: with every token of the beginning replaced, no later output changes.

    All later outputs are asked: one position may close its own gate (the TTT seed does, where its
    moved rate falls below zero), and a block that reads from one distance only shows somewhere.
    """
    tokens, output = subject.answer
    others = tokens.clone()
    others[:, :_BEGINNING] = subject.other_tokens(tokens[:, :_BEGINNING])
    other = subject.run(subject.shared.eval(), others)
    change = difference(output[:, _BEGINNING:], other[:, _BEGINNING:])
    if not change > MIXES:
        text = f"With the first {_BEGINNING} tokens replaced, every later output stays the same."
        evidence = {"length": tokens.shape[1], "replaced": _BEGINNING, "change": change}
        yield finding("mixing.none", text, evidence)


def receptive_field(subject: Subject) -> int:
    """Return how many tokens back the last output of the model reaches, in steps of 1, 2, 4 ...

    0 means that it depends on no earlier token.  The farthest distance within the context at
    which one token, replaced alone, changes the last output.
    """
    length = min(subject.context, subject.long)
    shorter = [2**k for k in range(12) if 2**k < length - 1]
    # Most blocks reach the whole context: that is asked first, and often nothing else need be.
    return max(_reached(subject, length, [length - 1]) or _reached(subject, length, shorter) or [0])


def _reached(subject: Subject, length: int, distances: Sequence[int]) -> list[int]:
    """Return the distances from which a token, replaced alone, changes the last output."""
    rows = subject.tokens(1, length).repeat(len(distances) + 1, 1)
    for row, distance in enumerate(distances, start=1):
        at = slice(length - 1 - distance, length - distance)
        rows[row, at] = subject.other_tokens(rows[row, at], salt=distance)
    last = subject.run(subject.shared.eval(), rows)[:, -1]
    return [d for d, row in zip(distances, last[1:], strict=True) if _changed(last[0], row)]


def _changed(one: Tensor, other: Tensor) -> bool:
    # Far tokens weigh little: anything beyond rounding is a dependence.
    return difference(one, other) > LEAK * 1e-3


def probe_rows(
    subject: Subject,
    model: nn.Module,
    state: str,
    lengths: Sequence[int],
    *,
    few: bool = False,
) -> Finding | None:
    """Replace suffixes, one row of a batch for each cut (the batch was found not to mix).

    With `few`, a long length is cut where a gradient's test would cut it.
    """
    model.eval()
    for length in lengths:
        tokens = subject.tokens(1, length)
        long = few and length > _LENGTH
        cuts = _few_cuts(length, subject.chunk) if long else _cuts(length, subject.chunk)
        rows = torch.cat([tokens, *(_with_new_suffix(subject, tokens, cut) for cut in cuts)])
        outputs = _outputs(subject, model, rows)
        changes = torch.stack([_changes(output, cuts) for output in outputs])
        suspects = (~(changes <= LEAK)).any(0).tolist()
        for row, cut in ((i + 1, cuts[i]) for i, suspect in enumerate(suspects) if suspect):
            before, after = [o[0] for o in outputs], [o[row] for o in outputs]
            found = _compare(subject, model, (before, after), rows[[0, row]], cut, state, LEAK)
            if found is not None:
                return found
    return None


def _changes(output: Tensor, cuts: Sequence[int]) -> Tensor:
    """Return for each row but the first its `difference` from the first, before the row's cut.

    `output` is (1 + cuts, time, width); all rows at once, since most audits find no leak.
    """
    before = torch.arange(output.shape[1]) < torch.tensor(cuts)[:, None]
    apart, sizes = (output[1:] - output[:1]).abs().amax(-1), output.abs().amax(-1)
    sizes = torch.maximum(sizes[:1], sizes[1:])
    apart, size = (torch.where(before, part, 0.0).amax(1) for part in (apart, sizes))
    return apart / size.clamp_min(1e-300)


def _replace_in_training(
    subject: Subject, model: nn.Module, state: str, rows: int = 1, tolerance: float = LEAK
) -> Finding | None:
    """The same in train mode, with a graph, one batch for each cut: dropout draws alike then."""
    model.train()
    tokens = subject.tokens(rows, _LENGTH)
    before = _outputs(subject, model, tokens, gradient=True)
    for cut in (1, 16, _LENGTH - 1):
        other = _with_new_suffix(subject, tokens, cut)
        after = _outputs(subject, model, other, gradient=True)
        both = torch.cat([tokens[:1], other[:1]])
        pair = [o[0] for o in before], [o[0] for o in after]
        found = _compare(subject, model, pair, both, cut, f"{state}, training", tolerance)
        if found is not None:
            return found
    return None


def _outputs(
    subject: Subject, model: nn.Module, rows: Tensor, *, gradient: bool = False
) -> list[Tensor]:
    """Return the output of every layer, (rows, time, width), and the logits behind them."""
    layers: list[Tensor] = []

    def note(_module: nn.Module, _inputs: object, reply: tuple[Tensor, object]) -> None:
        layers.append(reply[0].detach())

    blocks = [module for module in model.modules() if isinstance(module, subject.block_class)]
    handles = [block.register_forward_hook(note) for block in blocks]
    try:
        logits = subject.run(model, rows, gradient=True) if gradient else subject.run(model, rows)
    finally:
        for handle in handles:
            handle.remove()
    return [*layers, logits]


def _cuts(length: int, chunk: int) -> Sequence[int]:
    """Return every position of a short length, several of a long one, few of a very long one."""
    if length <= _LENGTH:
        return range(1, length)
    half = length // 2
    if length > _VERY_LONG:
        return _few_cuts(length, chunk)
    return sorted({1, length // 4, half - 1, half, half + 1, 3 * length // 4, length - 1})


def _gradient_cuts(length: int, chunk: int) -> Sequence[int]:
    """Return the cuts of the gradient's test: few of a long length, where a row costs the most."""
    if length > _LENGTH:
        return _few_cuts(length, chunk)
    return sorted({1, 8, 16, length // 2, length - 1})


def _few_cuts(length: int, chunk: int) -> Sequence[int]:
    """Return the middle, the end of the first chunk (1 where there is none) and the end."""
    return sorted({length // 2, min(max(chunk, 1), length - 2), length - 1})


def _with_new_suffix(subject: Subject, tokens: Tensor, cut: int) -> Tensor:
    other = tokens.clone()
    other[:, cut:] = subject.other_tokens(tokens[:, cut:], salt=100 + cut)
    return other


def _compare(
    subject: Subject,
    model: nn.Module,
    outputs: tuple[list[Tensor], list[Tensor]],
    rows: Tensor,
    cut: int,
    state: str,
    tolerance: float,
) -> Finding | None:
    """Compare the layers' outputs (time, width) before `cut`; on a leak, find who did it."""
    changes = [difference(one[:cut], other[:cut]) for one, other in zip(*outputs, strict=True)]
    leaking = [layer for layer, change in enumerate(changes) if not change <= tolerance]
    if not leaking:
        return None
    layer = leaking[0]
    before, after = outputs[0][layer], outputs[1][layer]
    length = rows.shape[1]
    apart = (before[:cut] - after[:cut]).abs().amax(-1)
    position = int((~(apart <= tolerance * before.abs().max())).int().argmax())
    view = blame.prefix(cut, length)
    runs = subject.trace(model, rows[:1]), subject.trace(model, rows[1:])
    place = blame.first_different(runs, (view, view), tolerance)
    text = f"New tokens from position {cut} on change the output at position {position}."
    evidence: dict[str, Evidence] = {
        "length": length,
        "cut": cut,
        "position": position,
        "change": worst(changes),
        "parameters": state,
        "layer": min(layer, subject.blocks - 1),
    }
    return finding("causality.leak", text, evidence, place=place)


def _gradient(subject: Subject, model: nn.Module, lengths: Sequence[int]) -> Finding | None:
    """Ask the gradient of the outputs before a cut for the inputs from the cut on.

    Every row of a batch has its own cut, so one backward pass asks for all.
    """
    model.eval()
    for length in lengths:
        cuts = _gradient_cuts(length, subject.chunk)
        with subject.inputs_of_blocks(model) as caught:
            output = model(subject.tokens(1, length).repeat(len(cuts), 1))
        if not output.requires_grad:
            return None  # the gradient's own check says so
        generator = subject.generator(7)
        weights = torch.randn(output.shape, generator=generator, dtype=output.dtype)
        kept = torch.arange(length) < torch.tensor(cuts)[:, None]
        loss = (output * weights * kept[..., None]).sum()
        (slope,) = torch.autograd.grad(loss, caught[:1], allow_unused=True)
        if slope is None:
            return None
        if not torch.isfinite(slope).all():
            text = "The gradient for the blocks' input is NaN or infinite."
            place = origin_of_nan(subject, model, length)
            return finding("gradient.nonfinite", text, {"length": length}, place=place)
        for row, cut in enumerate(cuts):
            size = float(slope[row, :cut].abs().max())
            change = float(slope[row, cut:].abs().max()) / max(size, 1e-300)
            if not change <= LEAK:
                text = f"Outputs before position {cut} have a gradient for inputs from it on."
                evidence: dict[str, Evidence] = {"length": length, "cut": cut, "change": change}
                return finding("causality.gradient", text, evidence)
    return None
