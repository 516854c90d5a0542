"""No output depends on a later input.

The suffix is replaced by fresh random tokens (never flipped in sign or shifted: an even
function of the future would pass), in fp64, through the whole model with Z carried along, with
initial and with moved parameters (a gate that is zero hides a leak), in eval and in train mode:
at every position of a short length, and at the contexts that will be trained at, around every
chunk that may be formed there (`lengths`).  The output of every layer is compared, not the
model's alone.  A second test asks the gradient: no output may pull on a later input.  A third
asks beginnings alone: they give what they give within a longer input.

A probe draws tokens, has the block answer (`Subject.layers`, `Subject.pull`), and compares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.gab.checks.sourcemap import Place
from genesys_engine.plugins.auditor.batch import among_others, is_chaos
from genesys_engine.plugins.auditor.candidate import Model
from genesys_engine.plugins.auditor.gradient import origin_of_nan
from genesys_engine.plugins.auditor.lengths import SHORT, cuts, prefixes, rows_at_once, rows_of_step
from genesys_engine.plugins.auditor.numbers import FP32, ROUNDING, difference, settled, worst
from genesys_engine.plugins.auditor.subject import VOCABULARY, Subject
from genesys_engine.plugins.sandbox.subject import SubjectRaised

# fp64 rounding is 1e-16; a long sum or a transform may make 1e-12 of it.
LEAK = 1e-9
# The same in fp32, whose rounding is 1e-7.
LEAK_FP32 = 1e-3
# A change of fp32's own size is rounding where fp64 knows it not; a larger one must also stay as
# large when the change of the future is made a hundred times smaller: a leak shrinks along.
_NEARER, _SHRINKS = 1e-2, 0.1
_AS_TRAINED: dict[str, Any] = {"gradient": True, "bare": True}
# Of a deep model: the first token and the last, the end of a chunk of any power of two up to 16,
# and insides of chunks.
_DEEP = (1, 7, 16, 21, 30)


def check_causality(subject: Subject) -> Iterator[Finding]:
    """`causality.leak` and `causality.gradient`; stops at the first."""
    moved = subject.shared
    lengths = dict.fromkeys((2, SHORT, *subject.contexts, subject.context))
    found = (
        probe_rows(subject, subject.model(), "initial", (SHORT + 1,), few=True)
        or probe_rows(subject, moved, "moved", tuple(lengths))
        or _replace_in_training(subject, moved, "moved", subject.context)
        or _gradient(subject, moved, (SHORT, subject.context))
    )
    if found is not None:
        yield found


def check_causality_fast(subject: Subject) -> Iterator[Finding]:
    """The same with moved parameters, in eval mode and at fewer cuts, where nearly all leaks show.

    Most of the time of a fast audit goes here, and it grows with the rows.
    """
    model = subject.shared
    found = probe_rows(subject, model, "moved", (SHORT, subject.context), few=True)
    found = found or _gradient(subject, model, (SHORT,))
    if found is not None:
        yield found


def check_causality_deep(subject: Subject, noise: float) -> Iterator[Finding]:
    """`causality.leak` at one short length and few cuts: for a deep model, whose every layer may be
    another.

    `noise` is how far the parameters of a shallow one can be moved; seldom is it too far here.
    """
    found = probe_rows(subject, subject.model(noise=noise), "moved", (SHORT,), only=_DEEP)
    if found is not None and not math.isfinite(float(found.evidence["change"] or 0)):
        found = probe_rows(subject, subject.shared, "moved", (SHORT,), only=_DEEP)
    if found is not None:
        yield found


def check_causality_as_trained(subject: Subject) -> Iterator[Finding]:
    """`causality.leak` in fp32, in train mode and with a graph: as training runs it.

    The batches have the shape of a training's, and tokens come as often as words do, equal ones as
    equal vectors.  What leaks in one dtype, mode or batch size only does not show in fp64.  What
    leaks with the small weights that a training begins with is asked in a small batch.
    """
    moved, initial = (subject.model(noise=n, dtype=torch.float32) for n in (subject.noise, 0.0))
    steps = [_Step(subject, initial, "initial", SHORT, 4)]
    for each in dict.fromkeys((*subject.contexts, subject.context)):
        steps.append(_Step(subject, moved, "moved", each, rows_of_step(each)))
    for step, after in zip(steps, subject.all_of([step.asked for step in steps]), strict=True):
        found = step.fault(after)
        if found is not None:
            yield found
            return


def check_lengths(subject: Subject) -> Iterator[Finding]:
    """`causality.length`: a prefix alone gives what it gives within a longer input.

    Where it does not, the output depends on how much text will follow: on its tokens, which is a
    leak at one of the two lengths, or on their number alone.
    """
    longest, shared = subject.longest, subject.shared.eval()
    lengths = prefixes(longest, subject.context, subject.chunks)
    subject.run_alone([*lengths, longest])

    def change(cut: int, wide: bool) -> float:
        one, other = (
            subject.layers(shared, subject.tokens(1, n), wide=True) if wide else subject.alone(n)
            for n in (cut, longest)
        )
        return worst(difference(a, b[:, :cut]) for a, b in zip(one, other, strict=True))

    for cut in lengths:
        apart = settled(partial(change, cut), LEAK)
        if not apart <= LEAK:
            found = None
            if math.isfinite(apart):  # NaN needs no further look
                found = probe_rows(subject, shared, "moved", (longest,), only=(cut,))
                found = found or probe_rows(subject, shared, "moved", (cut, longest))
            text = f"The first {cut} of {longest} tokens give another output when they are alone."
            evidence: dict[str, Evidence] = {"length": longest, "cut": cut, "change": apart}
            yield found or finding("causality.length", text, evidence)
            return


def probe_rows(
    subject: Subject,
    model: Model,
    state: str,
    lengths: Sequence[int],
    *,
    few: bool = False,
    only: Sequence[int] = (),
) -> Finding | None:
    """Replace suffixes, one row of a batch for each cut (the batch was found not to mix).

    `few` leaves out cuts of long lengths; `only` are all that are asked.
    """
    model.eval()
    longer = [length for length in lengths if length > 1]  # one token has no future
    probes = [_Probe(subject, model, state, each, few=few, only=only) for each in longer]
    asked = [subject.to_layers(model, probe.first) for probe in probes]
    for probe, outputs in zip(probes, subject.all_of(asked), strict=True):
        found = probe.fault(outputs)
        if found is not None:
            return found
    return None


class _Probe:
    """Suffixes of one text that are replaced, a group of cuts at a time."""

    def __init__(
        self,
        subject: Subject,
        model: Model,
        state: str,
        length: int,
        *,
        few: bool,
        only: Sequence[int],
    ) -> None:
        self._subject, self._model, self._state = subject, model, state
        self._tokens = subject.tokens(1, length)
        where = only or cuts(length, subject.chunks, few=few)
        self._groups = list(_groups(where, rows_at_once(length) - 1))
        self.first = self._rows_of(self._groups[0])

    def _rows_of(self, where: Sequence[int]) -> Tensor:
        """Return the text, and below it one with a new suffix for each cut."""
        changed = [_with_new_suffix(self._subject, self._tokens, cut) for cut in where]
        return torch.cat([self._tokens, *changed])

    def fault(self, outputs: list[Tensor]) -> Finding | None:
        """Return what is wrong, given the layers' outputs for the `first` rows."""
        subject, model, state = self._subject, self._model, self._state
        found = _fault_of_group(subject, model, state, self.first, self._groups[0], outputs)
        if found is not None:
            return found
        for where in self._groups[1:]:
            if _stays(subject, model, self._tokens, where):
                continue
            rows = self._rows_of(where)
            found = _fault_of_group(subject, model, state, rows, where, subject.layers(model, rows))
            if found is not None:
                return found
        return None


def _groups(where: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(where), size):
        yield where[start : start + size]


def _stays(subject: Subject, model: Model, tokens: Tensor, where: Sequence[int]) -> bool:
    """Tell whether the cuts of a further group change nothing, next to the tokens run alone.

    Where one does, the group is probed as the first was, with the unchanged tokens in its batch:
    other batches may round otherwise.
    """
    if not subject.is_shared(model):
        return False
    rows = torch.cat([_with_new_suffix(subject, tokens, cut) for cut in where])
    pairs = zip(subject.alone(tokens.shape[1]), subject.layers(model, rows), strict=True)
    return all(bool((_changes(torch.cat(pair), where) <= LEAK).all()) for pair in pairs)


def _fault_of_group(
    subject: Subject,
    model: Model,
    state: str,
    rows: Tensor,
    where: Sequence[int],
    outputs: list[Tensor],
) -> Finding | None:
    """Return what is wrong with the layers' outputs for `rows`: a text, and below it one with a new
    suffix for each cut."""
    tokens = rows[:1]
    if subject.is_shared(model) and (found := among_others(subject, rows, outputs[-1])):
        return found
    changes = torch.stack([_changes(output, where) for output in outputs]).amax(0)
    known: dict[str, list[Tensor]] = {}  # run again once, for all suspects
    for row, (cut, change) in enumerate(zip(where, changes.tolist(), strict=True), start=1):

        def ask(row: int = row, cut: int = cut, **how: Any) -> float:
            if (name := next(iter(how))) not in known:
                known[name] = subject.layers(model, rows, **how)
            return _apart((_rows(known[name], [one]) for one in (0, row)), cut)

        if change <= LEAK or _is_rounding(ask, tokens, change):
            continue
        pair = _rows(outputs, [0]), _rows(outputs, [row])
        alone = _apart((subject.layers(model, rows[[one]]) for one in (0, row)), cut)
        if alone <= LEAK and is_chaos(subject, rows[:1], change):
            continue  # kernels round the rows of a batch in their own ways
        leak = _leak(subject, model, pair, rows[[0, row]], cut, state, LEAK)
        return _mixes(leak) if alone <= LEAK else leak
    return None


def _rows(layers: list[Tensor], rows: list[int]) -> list[Tensor]:
    return [layer[rows] for layer in layers]


def _mixes(leak: Finding) -> Finding:
    """Return what a leak amounts to that two rows have together and not each by itself."""
    text = f"With {leak.evidence['length']} tokens a sequence's output depends on its neighbours."
    evidence = {name: leak.evidence[name] for name in ("length", "change")}
    return finding("batch.mixed", text, evidence, place=(leak.unit, leak.line))


def _changes(output: Tensor, where: Sequence[int]) -> Tensor:
    """Return for each row but the first its `difference` from the first, before the row's cut.

    `output` is (1 + cuts, time, width); all rows at once, since most audits find no leak.
    """
    before = torch.arange(output.shape[1]) < torch.tensor(where)[:, None]
    apart, sizes = (output[1:] - output[:1]).abs().amax(-1), output.abs().amax(-1)
    sizes = torch.maximum(sizes[:1], sizes[1:])
    apart, size = (torch.where(before, part, 0.0).amax(1).double() for part in (apart, sizes))
    return apart / size.clamp_min(1e-300)


def _is_rounding(ask: Callable[..., float], tokens: Tensor, change: float) -> bool:
    """Tell whether a change before a cut is the rounding of what computes in fp32.

    `ask` measures it again, with the options of `Subject.layers`; `tokens` are the unchanged ones.
    """

    def stays() -> bool:
        return ask(nearer=(tokens, _NEARER)) > _SHRINKS * change

    if not change <= ROUNDING:
        return False
    try:
        return ask(wide=True) <= LEAK and (change <= FP32 or stays())
    except SubjectRaised:  # it insists on its dtype
        return stays()


def _replace_in_training(subject: Subject, model: Model, state: str, length: int) -> Finding | None:
    """The same in train mode, with a graph, one row at a time: dropout draws alike then.

    A leak of the last token alone is left to fp32, which asks this again in any case.
    """
    model.train()
    tokens, cut = subject.tokens(1, length), length // 2 + 1
    other = _with_new_suffix(subject, tokens, cut)

    def run(**how: Any) -> list[list[Tensor]]:
        asked = [subject.to_layers(model, t, gradient=True, **how) for t in (tokens, other)]
        return list(subject.all_of(asked))

    def ask(**how: Any) -> float:
        return _apart(run(**how), cut)

    before, after = run()
    change = _apart((before, after), cut)
    if change <= LEAK or _is_rounding(ask, tokens, change):
        return None
    rows = torch.cat([tokens, other])
    return _leak(subject, model, (before, after), rows, cut, f"{state}, training", LEAK)


class _Step:
    """The batch of a training's step, with the suffix replaced behind another cut in each row but
    the first."""

    def __init__(self, subject: Subject, model: Model, state: str, length: int, rows: int) -> None:
        self._subject, self._model, self._state = subject, model.train(), state
        self._text = subject.text(1, length)
        self._where = _cuts_of_step(length, max(2, rows - 1))
        behind = [_with_new_suffix(subject, self._text, cut) for cut in self._where]
        self._changed = torch.cat([self._text, *behind])
        self.asked = subject.to_layers(self._model, self._changed, **_AS_TRAINED)

    def fault(self, after: list[Tensor]) -> Finding | None:
        """Return a leak, given the layers' outputs for what was asked.

        Where rows differ they may have drawn differently (dropout): then batches are compared,
        which draw alike.
        """
        subject, where = self._subject, self._where
        if all(bool((_changes(output, where) <= LEAK_FP32).all()) for output in after):
            return None
        whole = self._text.repeat(len(self._changed), 1)
        before = subject.layers(self._model, whole, **_AS_TRAINED)
        for row, cut in enumerate(where, start=1):
            pair = _rows(before, [row]), _rows(after, [row])
            if not _apart(pair, cut) <= LEAK_FP32:
                both = torch.stack([whole[row], self._changed[row]])
                state = f"{self._state}, fp32, training"
                return _leak(subject, self._model, pair, both, cut, state, LEAK_FP32)
        return None


def _cuts_of_step(length: int, count: int) -> list[int]:
    """Return so many cuts: the last token and the middle first, and then evenly spread ones."""
    spread = [1 + place * (length - 1) // count | 1 for place in range(count - 2)]
    return [length - 1, length // 2 + 1, *(min(cut, length - 1) for cut in spread)]


def _apart(pair: Iterable[list[Tensor]], cut: int) -> float:
    """Return the largest `difference` of any layer (rows, time, width) before the cut."""
    one, other = pair
    return worst(difference(a[:, :cut], b[:, :cut]) for a, b in zip(one, other, strict=True))


def _with_new_suffix(subject: Subject, tokens: Tensor, cut: int) -> Tensor:
    other = tokens.clone()
    other[:, cut:] = subject.other_tokens(tokens[:, cut:], salt=100 + cut)
    return other


def _leak(
    subject: Subject,
    model: Model,
    outputs: tuple[list[Tensor], list[Tensor]],
    rows: Tensor,
    cut: int,
    state: str,
    tolerance: float,
) -> Finding:
    """Return `causality.leak`: in which layer, at which position, and by whom.

    `outputs` are the layers' outputs (1, time, width) for the two `rows`.
    """
    changes = [_apart(([one], [other]), cut) for one, other in zip(*outputs, strict=True)]
    leaking = [layer for layer, change in enumerate(changes) if not change <= tolerance]
    layer = leaking[0]
    before, after = outputs[0][layer][0], outputs[1][layer][0]
    length = rows.shape[1]
    apart = (before[:cut] - after[:cut]).abs().amax(-1)
    position = int((~(apart <= tolerance * before.abs().max())).int().argmax())
    view = "prefix", cut, length
    runs = subject.trace(model, rows[:1]), subject.trace(model, rows[1:])
    place = subject.first_different(runs, (view, view), tolerance)
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


def _gradient(subject: Subject, model: Model, lengths: Sequence[int]) -> Finding | None:
    """Ask the gradient of the outputs before a cut for the inputs from the cut on.

    Every row of a batch has its own cut, so one backward pass asks for all: of a short length in
    eval mode, of others in train mode.
    """
    asked = [(length, *_weighted(subject, length)) for length in dict.fromkeys(lengths)]
    pulls = [subject.to_pull(model.train(length > SHORT), *given) for length, *given in asked]
    slopes = subject.all_of(pulls)
    for (length, tokens, weights), slope in zip(asked, slopes, strict=True):
        if slope is None:
            return None  # the gradient's own check says so
        if not torch.isfinite(slope).all():
            text = "The gradient for the blocks' input is NaN or infinite."
            place = origin_of_nan(subject, model, length)
            return finding("gradient.nonfinite", text, {"length": length}, place=place)
        for row, cut in enumerate(_gradient_cuts(length)):
            model.train(length > SHORT)
            change = settled(_pulls(subject, model, tokens, weights, slope, (row, cut)), LEAK)
            if not change <= LEAK:
                text = f"Outputs before position {cut} have a gradient for inputs from it on."
                evidence: dict[str, Evidence] = {"length": length, "cut": cut, "change": change}
                place = _place_of_pull(subject, model, tokens[:1], cut)
                return finding("causality.gradient", text, evidence, place=place)
    return None


def _weighted(subject: Subject, length: int) -> tuple[Tensor, Tensor]:
    """Return a text, once for each cut of the gradient's test, and weights of the logits before."""
    where = _gradient_cuts(length)
    tokens = subject.tokens(1, length).repeat(len(where), 1)
    generator = subject.generator(7)
    weights = torch.randn((*tokens.shape, VOCABULARY), generator=generator, dtype=torch.float64)
    return tokens, weights * (torch.arange(length) < torch.tensor(where)[:, None])[..., None]


def _place_of_pull(subject: Subject, model: Model, tokens: Tensor, cut: int) -> Place:
    """Return where the future comes in: without what only cancels it, it changes the value."""
    one = subject.trace(model, tokens, without_detached=True)
    other = subject.trace(model, _with_new_suffix(subject, tokens, cut), without_detached=True)
    view = "prefix", cut, tokens.shape[1]
    return subject.first_different((one, other), (view, view), LEAK)


def _pulls(
    subject: Subject,
    model: Model,
    tokens: Tensor,
    weights: Tensor,
    slope: Tensor,
    place: tuple[int, int],
) -> Callable[[bool], float]:
    """Return what tells how large the gradient from a row's cut on is next to that before it."""
    row, cut = place

    def ask(wide: bool) -> float:
        wider = subject.pull(model, tokens, weights, wide=True) if wide else slope
        assert wider is not None, "it had a gradient before"
        size = float(wider[row, :cut].abs().max())
        return float(wider[row, cut:].abs().max()) / max(size, 1e-300)

    return ask


def _gradient_cuts(length: int) -> Sequence[int]:
    """Return the cuts of the gradient's test: few, since a row costs the most here."""
    if length <= SHORT:
        return sorted({1, 8, 16, length // 2, length - 1})
    return sorted({length // 2 + 1, length - 1})
