"""The report as text for people and language models: short, most urgent finding first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from genesys_engine.gab.checks.report import CheckReport, Finding
from genesys_engine.gab.checks.trace import in_lines

_SHOWN = 6  # findings; fixing the first ones often fixes the rest
_LINE = 100


def brief(
    report: CheckReport,
    *,
    name: str,
    source: str = "",
    machine_findings: Sequence[Finding] = (),
    facts: Mapping[str, Any] | None = None,
    verb: str = "Fix",
) -> str:
    """Return the text: verdict, findings in the order in which to fix them, measurements.

    `source` is the text to which the findings' lines refer; each line is quoted.  `verb`
    introduces the advice.
    """
    ordered = sorted((*report.findings, *machine_findings), key=lambda f: f.severity != "error")
    errors = sum(found.severity == "error" for found in ordered)
    lines = [f"{name}: {'passed' if report.passed else 'failed'}{_counts(errors, len(ordered))}"]
    quoted = source.split("\n")  # as Python counts: a text in it may hold U+2028
    for number, found in enumerate(ordered[:_SHOWN], start=1):
        lines += ["", *paragraph(number, found, quoted, verb)]
    if len(ordered) > _SHOWN:
        lines += ["", f"... and {len(ordered) - _SHOWN} more: {verb.lower()} these first."]
    measured = [f"  {line}" for line in _measured(report.measurements, facts or {})]
    return "\n".join([*lines, "", "Measured", *measured] if measured else lines)


def _counts(errors: int, findings: int) -> str:
    parts = [f"{errors} error{'s' * (errors != 1)}"] if errors else []
    warnings = findings - errors
    parts += [f"{warnings} warning{'s' * (warnings != 1)}"] if warnings else []
    return f" ({', '.join(parts)})" if parts else ""


def paragraph(
    number: int,
    found: Finding,
    source: Sequence[str],
    verb: str,
    details: Iterable[str] | None = None,
) -> Iterator[str]:
    """Yield the lines on one finding; `details` are those of its trace, in short if left out."""
    place = f"line {found.line}" if found.line else ""
    place = " in ".join(part for part in (place, found.unit or "") if part)
    yield f"{number}. {found.severity} {found.code}" + (f" at {place}" if place else "")
    if found.line and 0 < found.line <= len(source):
        yield f"     | {source[found.line - 1].strip()[:_LINE]}"
    yield f"   {found.message}"
    if found.evidence:
        yield "   " + ", ".join(f"{k}={_number(v)}" for k, v in found.evidence.items())
    if details is None:
        details = in_lines(found.trace) if found.trace else ()
    yield from (f"   {line}" for line in details)
    yield f"   {verb}: {found.advice}"


def _measured(measurements: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    probe = measurements.get("probe", {})
    if "longest" in probe:
        further = ", ".join(f"{number:,}" for number in probe["unprobed"])
        further = f"; the code names {further}: `--context` looks further" if further else ""
        yield f"leaks were looked for in up to {probe['longest']:,} tokens{further}"
    if "parameters_per_block" in measurements:
        yield f"parameters per block: {measurements['parameters_per_block']:,}"
    if "receptive_field" in measurements:
        yield f"the last output reaches {measurements['receptive_field']} tokens back"
    cost = measurements.get("cost", {})
    if "operations_ratio" in cost:
        yield (
            f"against the GPT seed: {cost['operations_ratio']:.2f} times the operations, "
            f"{cost['memory_ratio']:.2f} times the memory of a training step"
        )
        yield f"operations grow with length to the power of {cost['operations_exponent']:.2f}"
    if "time_ratio" in facts:
        yield f"{facts['time_ratio']:.2f} times the seconds of the GPT seed, on this machine"
    training = measurements.get("training", {})
    if training:
        yield (
            f"loss in nats per byte: {training['untrained']} untrained, "
            f"{training['trained']} after {training['tokens']:,} tokens"
        )


def _number(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
