"""All checks of one block, in order: the first stage with an error ends them.

The judge's side: inputs are drawn, outputs compared and verdicts found here, in a process that
runs nothing of the block.  What must be run is asked of the block's own (`candidate`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from genesys_engine.gab.checks.report import CheckReport, Finding, finding
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.checks.static import check_source
from genesys_engine.gab.errors import InputError, ScaleError
from genesys_engine.gab.layers import read_layers
from genesys_engine.gab.scales import ModelConfig, fit_scale, get_scale
from genesys_engine.plugins.auditor import (
    batch,
    causality,
    cost,
    forward,
    gradient,
    idle,
    mixing,
    modes,
    slope,
)
from genesys_engine.plugins.auditor.candidate import AnswerError, Candidate, Form, shapes, text
from genesys_engine.plugins.auditor.fingerprint import fingerprint
from genesys_engine.plugins.auditor.lengths import SHORT
from genesys_engine.plugins.auditor.subject import Subject, structure
from genesys_engine.plugins.auditor.untouched import PatchedError
from genesys_engine.plugins.sandbox.subject import SubjectRaised

# The one list of probes: a run and an audit go through the same.  Cheap ones first, and each may
# rely on those before it.
STAGES: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    modes.check_factory,
    forward.check_parameters,
    forward.check_shapes,
    forward.check_finite,
    forward.check_repeatable,
    batch.check_batch,
    causality.check_causality,
    causality.check_causality_as_trained,
    causality.check_lengths,
    mixing.check_mixing,
    modes.check_modes,
    modes.check_autocast,
    gradient.check_gradient,
    gradient.check_reach,
    slope.check_slope,
    modes.check_large_inputs,
    modes.check_growth,
    idle.check_dead_units,
)
# A larger model is counted on the meta device or not at all.
_CPU_PARAMETERS = 5_000_000


def check_block(
    source: str, *, vocab_size: int, seed: int, scales: Sequence[str], candidate: Candidate
) -> CheckReport:
    """Check the block that the module `source` defines.

    Args:
        source: a composed module with a class `Block`.
        vocab_size: of the corpus; with it each scale's size is reckoned.
        seed: makes the probes' random values; equal arguments give an equal report.
        scales: names of the ladder's scales, smallest first.
        candidate: asks the process in which the source runs.

    Raises:
        MemoryError: the block asked for more than its process may have.
        InputError: there is no scale, or none of such a name.
    """
    known = [get_scale(name) for name in scales]
    if not known:
        raise InputError("a check needs at least one scale")
    report = ReportBuilder(SourceMap(source), candidate)
    report.findings += check_source(source, report.source)
    if not report.passed or not report.load(source):
        return report.done()
    contexts = tuple(sorted({scale.context for scale in known}))
    subject = Subject(
        candidate, report.source, contexts[-1], seed, contexts=contexts[:-1], beyond=True
    )
    if report.attempt("build.error", lambda: subject.block().parameters) is None:
        return report.done()
    subject = in_layers(subject, report)
    if report.passed:
        report.stage(forward.check_parameters, subject)
    if report.passed:
        report.stage(check_fits, report, subject, known, vocab_size)
    for check in (*STAGES, cost.check_growth_with_length):
        if report.passed:
            report.stage(check, subject)
    if report.passed:
        report.stage(check_depth, report, subject)
    report.look_for_patches()
    if report.passed:
        report.stage(_count, report, subject)
    if report.passed:
        report.measurements["fingerprint"] = report.attempt(
            "forward.error", lambda: fingerprint(subject)
        )
    return report.done()


class ReportBuilder:
    """A report in the making."""

    def __init__(self, source: SourceMap, candidate: Candidate) -> None:
        self.source = source
        self._candidate = candidate
        self.findings: list[Finding] = []
        self.machine_findings: list[Finding] = []
        self.measurements: dict[str, Any] = {}

    @property
    def passed(self) -> bool:
        """Whether no finding so far is an error."""
        return all(found.severity != "error" for found in self.findings)

    def done(self) -> CheckReport:
        """Return the report."""
        return CheckReport(tuple(self.findings), self.measurements)

    def load(
        self,
        source: str,
        class_name: str = "Block",
        form: Form = "plain",
        *,
        whole_torch: bool = False,
    ) -> bool:
        """Have the source loaded; tell whether there is a module of the name."""
        load = partial(self._candidate.load, source, class_name, form=form, whole_torch=whole_torch)
        loaded = self.attempt("load.error", load)
        if loaded is False:
            message = f"{class_name} is not a class of torch.nn.Module."
            self.findings.append(finding("static.no_class", message, {"class": class_name}))
        return bool(loaded)

    def stage(self, check: Callable[..., Iterator[Finding]], *arguments: Any) -> None:
        """Add a stage's findings with their seed; what the block raises meanwhile is one too."""
        before = len(self.findings)
        self.attempt("forward.error", lambda: self.findings.extend(check(*arguments)))
        # What this machine lacks is no part of a report that must be equal on every machine.
        lacking = [f for f in self.findings[before:] if _is_of_machine(f)]
        self.machine_findings += lacking
        self.findings[before:] = [f for f in self.findings[before:] if f not in lacking]
        if arguments and isinstance(arguments[0], Subject):
            seed = {"seed": arguments[0].seed}
            self.findings[before:] = [
                replace(found, evidence={**found.evidence, **seed})
                for found in self.findings[before:]
            ]

    def look_for_patches(self) -> None:
        """Add `patch.outside` where a class is not as it was in the block's process."""
        if self.passed:
            self.attempt("forward.error", self._ask_for_patches)

    def _ask_for_patches(self) -> None:
        answer, _ = self._candidate.ask("patched")
        if kind := text(answer, "name"):
            raise PatchedError(kind)

    def attempt(self, code: str, action: Callable[[], Any]) -> Any:
        """Return what `action` does, or None and the finding `code` if it raises."""
        try:
            return action()
        except PatchedError as error:
            message = f"The block has changed the class {error}."
            self.findings.append(finding("patch.outside", message, {"name": str(error)}))
        except AnswerError as error:
            self.findings.append(finding(error.code, str(error), {}))
        except SubjectRaised as error:
            self.findings.append(self.source.fault(code, error.raised))
        return None


def in_layers(subject: Subject, report: ReportBuilder) -> Subject:
    """Return the subject with layers enough to show every kind that its stacks have.

    `measurements["layers"]` numbers the kinds of a deep stack, where there are several.
    """
    kinds = report.attempt(
        "build.error", lambda: read_layers(partial(structure, subject.candidate))
    )
    if kinds is None or not kinds.differ:
        return subject
    report.measurements["layers"] = list(kinds.kinds)
    return replace(subject, kinds=kinds, blocks=kinds.whole(subject.blocks))


def _is_of_machine(found: Finding) -> bool:
    return found.code == "machine.unsupported" and found.severity == "warning"


def check_fits(
    report: ReportBuilder, subject: Subject, scales: Sequence[Any], vocab_size: int
) -> Iterator[Finding]:
    """Fit every scale: `measurements["fits"]`, `scale.misfit`, and `build.error` at a width."""
    fits: dict[str, Any] = report.measurements.setdefault("fits", {})
    for scale in scales:
        try:
            count = partial(_parameters_of, subject.candidate)
            fit = fit_scale(None, scale, vocab_size, count, subject.kinds)
        except ScaleError as error:
            yield finding("scale.misfit", error.message, {"scale": scale.name})
            return
        except SubjectRaised as error:
            yield report.source.fault("build.error", error.raised)
            return
        fits[scale.name] = asdict(fit.config) | {
            "parameters": fit.parameters,
            "reference": fit.reference,
        }


def check_depth(report: ReportBuilder, subject: Subject) -> Iterator[Finding]:
    """Look for leaks in a model as deep as the deepest that was fitted: a layer may know its place.

    The other probes' models are as deep as it takes to show every kind of layer.
    """
    deepest = max(fit["n_blocks"] for fit in report.measurements["fits"].values())
    if deepest > subject.blocks:
        deep = replace(subject, blocks=deepest, context=SHORT, contexts=(), beyond=False)
        yield from causality.check_causality_deep(deep, subject.noise)


def _parameters_of(candidate: Candidate, config: ModelConfig) -> int:
    """Count what the shapes hold that a block's process lists; a training's weights must bear
    that out (`plugins/learned.py`)."""
    answer, _ = candidate.ask("parameters_of", **asdict(config))
    return sum(map(math.prod, shapes(answer, "shapes")))


def _count(report: ReportBuilder, subject: Subject) -> Iterator[Finding]:
    """Count `measurements["flops_per_token"]` at every scale, by proportion where it must be."""
    counts: dict[str, float] = report.measurements.setdefault("flops_per_token", {})
    per_parameter = 0.0
    for name, fit in report.measurements["fits"].items():
        fields = {k: v for k, v in fit.items() if k not in ("parameters", "reference")}
        config = ModelConfig(**fields)
        try:
            counts[name] = cost.flops_per_token(subject, config)
        except SubjectRaised as error:
            if not any(found.code == "device.bound" for found in report.findings):
                yield cost.device_bound(report.source, error.raised, {"scale": name})
            if fit["parameters"] <= _CPU_PARAMETERS or not per_parameter:
                counts[name] = cost.flops_per_token(subject, config, device="cpu")
            else:
                counts[name] = per_parameter * fit["parameters"]
        per_parameter = counts[name] / fit["parameters"]
