"""All checks of one block, in order: the first stage with an error ends them.

Executes the block's code: only ever called inside an isolated worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from torch import nn

from genesys_engine.gab.checks import batch, causality, cost, forward, gradient, idle, mixing, modes
from genesys_engine.gab.checks.fingerprint import fingerprint
from genesys_engine.gab.checks.flops import device_bound, flops_per_token
from genesys_engine.gab.checks.report import CheckReport, Finding, finding
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.checks.static import check_source
from genesys_engine.gab.checks.subject import Subject
from genesys_engine.gab.checks.untouched import PatchedError, remember
from genesys_engine.gab.compose import load_block
from genesys_engine.gab.errors import InputError, ScaleError
from genesys_engine.gab.scales import ModelConfig, fit_scale, get_scale

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
    modes.check_large_inputs,
    modes.check_growth,
    idle.check_dead_units,
)
# A larger model is counted on the meta device or not at all.
_CPU_PARAMETERS = 5_000_000


def check_block(source: str, *, vocab_size: int, seed: int, scales: Sequence[str]) -> CheckReport:
    """Check the block that the module `source` defines.

    Args:
        source: a composed module with a class `Block`.
        vocab_size: of the corpus; with it each scale's size is reckoned.
        seed: makes the probes' random values; equal arguments give an equal report.
        scales: names of the ladder's scales, smallest first.

    Raises:
        MemoryError: the block asked for more than the worker may have.
        InputError: there is no scale, or none of such a name.
    """
    known = [get_scale(name) for name in scales]
    if not known:
        raise InputError("a check needs at least one scale")
    report = ReportBuilder(SourceMap(source))
    report.findings += check_source(source, report.source)
    block_class = (
        report.attempt("load.error", lambda: load_block(source)) if report.passed else None
    )
    if block_class is None:
        return report.done()
    contexts = tuple(sorted({scale.context for scale in known}))
    subject = Subject(
        block_class, report.source, contexts[-1], seed, contexts=contexts[:-1], beyond=True
    )
    if report.attempt("build.error", subject.block) is None:
        return report.done()
    report.stage(forward.check_parameters, subject)
    if report.passed:
        report.stage(check_fits, report, block_class, known, vocab_size)
    for check in (*STAGES, cost.check_growth_with_length):
        if report.passed:
            report.stage(check, subject)
    if report.passed:
        report.stage(_count, report, block_class)
    if report.passed:
        report.measurements["fingerprint"] = report.attempt(
            "forward.error", lambda: fingerprint(subject)
        )
    return report.done()


class ReportBuilder:
    """A report in the making."""

    def __init__(self, source: SourceMap) -> None:
        self.source = source
        self.findings: list[Finding] = []
        self.machine_findings: list[Finding] = []
        self.measurements: dict[str, Any] = {}
        self._changed = remember()

    @property
    def passed(self) -> bool:
        """Whether no finding so far is an error."""
        return all(found.severity != "error" for found in self.findings)

    def done(self) -> CheckReport:
        """Return the report."""
        return CheckReport(tuple(self.findings), self.measurements)

    def stage(self, check: Callable[..., Iterator[Finding]], *arguments: Any) -> None:
        """Add a stage's findings with their seed; what the block raises meanwhile is one too."""
        before = len(self.findings)
        self.attempt("forward.error", lambda: self.findings.extend(check(*arguments)))
        self.look_for_patches()
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
        """Add `patch.outside` where a class is not as it was: nothing said since then counts."""
        if self.passed and (kind := self._changed(True)):
            text = f"The block has changed the class {kind}."
            self.findings.append(finding("patch.outside", text, {"name": kind}))

    def attempt(self, code: str, action: Callable[[], Any]) -> Any:
        """Return what `action` does, or None and the finding `code` if it raises."""
        try:
            return action()
        except PatchedError:
            self.look_for_patches()
            return None
        except Exception as error:
            self.findings.append(self.source.fault(code, error))
            return None


def _is_of_machine(found: Finding) -> bool:
    return found.code == "machine.unsupported" and found.severity == "warning"


def check_fits(
    report: ReportBuilder, block_class: type[nn.Module], scales: Sequence[Any], vocab_size: int
) -> Iterator[Finding]:
    """Fit every scale: `measurements["fits"]`, `scale.misfit`, and `build.error` at a width."""
    fits: dict[str, Any] = report.measurements.setdefault("fits", {})
    for scale in scales:
        try:
            fit = fit_scale(block_class, scale, vocab_size)
        except ScaleError as error:
            yield finding("scale.misfit", error.message, {"scale": scale.name})
            return
        except Exception as error:
            yield report.source.fault("build.error", error)
            return
        fits[scale.name] = asdict(fit.config) | {
            "parameters": fit.parameters,
            "reference": fit.reference,
        }


def _count(report: ReportBuilder, block_class: type[nn.Module]) -> Iterator[Finding]:
    """Count `measurements["flops_per_token"]` at every scale, by proportion where it must be."""
    counts: dict[str, float] = report.measurements.setdefault("flops_per_token", {})
    per_parameter = 0.0
    for name, fit in report.measurements["fits"].items():
        fields = {k: v for k, v in fit.items() if k not in ("parameters", "reference")}
        config = ModelConfig(**fields)
        try:
            counts[name] = flops_per_token(block_class, config)
        except Exception as error:
            if not any(found.code == "device.bound" for found in report.findings):
                yield device_bound(report.source, error, {"scale": name})
            if fit["parameters"] <= _CPU_PARAMETERS or not per_parameter:
                counts[name] = flops_per_token(block_class, config, device="cpu")
            else:
                counts[name] = per_parameter * fit["parameters"]
        per_parameter = counts[name] / fit["parameters"]
