"""The audit of one block: everything that `genesys-engine check` looks at.

Three levels.  A *run* checks each of its designs with `run.check_block`, which goes through the
same probes but neither trains nor times: the ladder trains every design anyway, and a decision
must not depend on a clock.  `fast` is the static look, causality and gradients.  `full` adds the
class's form, the parents, cost next to a reference and a short training on real text.

The judge's side, as `run` is: nothing of the block runs in this process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from genesys_engine.gab.checks.report import CheckReport, Finding, finding
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.checks.static import check_static, choose_class
from genesys_engine.gab.compose import load_block
from genesys_engine.gab.scales import Scale
from genesys_engine.plugins.auditor import (
    batch,
    causality,
    cost,
    forward,
    gradient,
    mixing,
    text,
    training,
)
from genesys_engine.plugins.auditor.candidate import Candidate, Form
from genesys_engine.plugins.auditor.fingerprint import fingerprint
from genesys_engine.plugins.auditor.run import (
    STAGES,
    ReportBuilder,
    check_depth,
    check_fits,
    in_layers,
)
from genesys_engine.plugins.auditor.subject import Subject

Level = Literal["fast", "full"]
Stage = Callable[[Subject], Iterator[Finding]]

# What a block may name that needs the whole of PyTorch; a word too many costs nothing but time.
_WHOLE = re.compile(
    r"\bmeta\b|fake|compile[dr]?\(|torch\.compile|export|torch\.fx|torch\.library|dispatch|dynamo"
    r"|flex|_refs|_prims|_decomp|checkpoint",
    re.IGNORECASE,
)

FAST: tuple[Stage, ...] = (
    forward.check_parameters,
    forward.check_shapes_fast,
    batch.check_batch_fast,
    causality.check_causality_fast,
    mixing.check_mixing,
    gradient.check_gradient_fast,
)


@dataclass(frozen=True)
class Order:
    """What to audit.

    `source` is any module that defines the class `class_name`; with `adapt` that class may have
    another form than the contract's, and where no name is given it is `Block` or the only
    module that the source defines.  `d_model` and `layers` shape the
    model that is probed, `context` is the largest length it would be trained at; `reference` is the
    composed source that costs are compared with ("" for none), `parents` are the fingerprints
    (hex) of the designs that this one was made from, by name.
    """

    source: str
    class_name: str = "Block"
    adapt: bool = False
    d_model: int = 128
    layers: int = 2
    context: int = 128
    seed: int = 0
    level: Level = "full"
    reference: str = ""
    parents: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Audit:
    """The report, which depends on the order alone, and facts of this machine next to it."""

    report: CheckReport
    facts: Mapping[str, float] = field(default_factory=dict)
    machine_findings: tuple[Finding, ...] = ()


def audit_block(order: Order, candidate: Candidate) -> Audit:
    """Audit a block; the first stage with an error ends it.

    `candidate` asks the process in which the block runs.

    Raises:
        MemoryError: the block asked for more than its process may have.
    """
    report = ReportBuilder(SourceMap(order.source), candidate)
    # What a person needs to see the same again.
    report.measurements["probe"] = {
        name: getattr(order, name) for name in ("d_model", "layers", "context", "seed", "level")
    }
    if order.adapt and not order.class_name:
        order = replace(order, class_name=choose_class(order.source))
    report.findings += check_static(
        order.source, order.class_name, report.source, adapt=order.adapt
    )
    subject = _subject(order, report, candidate) if report.passed else None
    if subject is None:
        return Audit(report.done(), machine_findings=tuple(report.machine_findings))
    report.measurements["probe"] |= {"longest": subject.longest, "unprobed": subject.unprobed}
    for check in FAST if order.level == "fast" else STAGES:
        if report.passed:
            report.stage(check, subject)
    report.look_for_patches()
    if order.level == "fast" or not report.passed:
        return Audit(report.done(), machine_findings=tuple(report.machine_findings))
    return _finish(order, report, subject)


def _subject(order: Order, report: ReportBuilder, candidate: Candidate) -> Subject | None:
    """Load and build the block; None where that fails."""
    form: Form = "adapted" if order.adapt else "pairs"
    whole = _WHOLE.search(order.source) is not None
    if not report.load(order.source, order.class_name, form, whole_torch=whole):
        return None
    subject = Subject(
        candidate,
        report.source,
        order.context,
        order.seed,
        order.d_model,
        order.layers,
        beyond=order.level == "full",
    )
    if report.attempt("build.error", lambda: subject.block().parameters) is None:
        return None
    subject = in_layers(subject, report)
    report.measurements["probe"]["layers"] = subject.blocks
    return subject if report.passed else None


def _finish(order: Order, report: ReportBuilder, subject: Subject) -> Audit:
    """Measure, compare and train what has passed every probe."""
    scale = Scale("audit", order.d_model, max(order.layers, 4), order.context, 0.0, 1, 1)
    report.stage(check_fits, report, subject, [scale], text.VOCABULARY)
    if report.passed:
        report.stage(check_depth, report, subject)
    measure = partial(_measure, order, report.measurements)
    report.attempt("forward.error", lambda: report.findings.extend(measure(subject)))
    # The reference is a seed of our library: trusted code, which runs in this process.
    reference = load_block(order.reference) if order.reference and report.passed else None
    for stage in (
        partial(cost.check_cost, measurements=report.measurements, reference=reference),
        partial(training.check_training, measurements=report.measurements),
    ):
        if report.passed:
            report.stage(stage, subject)
    if reference is None or not report.passed:
        return Audit(report.done(), machine_findings=tuple(report.machine_findings))
    facts, slow = cost.time_against(subject, reference)
    return Audit(report.done(), facts, (*report.machine_findings, *slow))


def _measure(order: Order, measurements: dict[str, Any], subject: Subject) -> Iterator[Finding]:
    """Measure the receptive field and the fingerprint; `function.same` as a parent."""
    measurements["receptive_field"] = mixing.receptive_field(subject)
    blocks = subject.stack()
    parameters = sum(p.count for block in blocks for p in block.parameters)
    measurements["parameters_per_block"] = round(parameters / len(blocks))
    own = measurements["fingerprint"] = fingerprint(subject)
    for name, other in order.parents.items():
        if own == other:
            text = f"It computes the same function as {name}."
            yield finding("function.same", text, {"parent": name, "fingerprint": own[:16]})
