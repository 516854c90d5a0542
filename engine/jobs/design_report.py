"""The report of a design's check, as the engine reads it: what a worker said, once it fits.

A worker writes it with `gab.checks.report`; further figures and fields are kept as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from genesys_engine.engine.jobs.facts import Finite
from genesys_engine.gab.checks.report import Finding
from genesys_engine.gab.checks.trace import Trace
from genesys_engine.gab.scales import ModelConfig

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

LONGEST = 20_000  # characters of a sentence


class _Open(BaseModel):
    """Further keys are kept as they are."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Fit(_Open):
    """How a block was brought to the size of a scale."""

    d_model: int = Field(ge=1)
    n_blocks: int = Field(ge=1)
    context: int = Field(ge=1)
    vocab_size: int = Field(ge=1)
    parameters: int = Field(ge=0)

    @property
    def model(self) -> ModelConfig:
        """The language model around the block at this scale."""
        return ModelConfig(self.d_model, self.n_blocks, self.vocab_size, self.context)


class CheckerFault(BaseModel):
    """Which plugin's checker failed, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(max_length=200)
    reason: str = Field(max_length=LONGEST)


class Measurements(_Open):
    """What a check measured, by scale where a scale matters."""

    fits: dict[str, Fit] = {}
    flops_per_token: dict[str, Finite] = {}
    fingerprint: str | None = Field(None, max_length=200)
    checker_fault: CheckerFault | None = None


class _Finding(_Open):
    """The form of a `gab.checks.report.Finding` in JSON."""

    code: str = Field(max_length=100)
    severity: Literal["error", "warning"]
    message: str = Field(max_length=LONGEST)
    advice: str = Field("", max_length=LONGEST)
    unit: str | None = None
    line: int | None = None
    evidence: dict[str, Any] = {}
    trace: dict[str, Any] | None = None

    @field_validator("trace")
    @classmethod
    def _is_trace(cls, given: dict[str, Any] | None) -> dict[str, Any] | None:
        """Refuse a trace of another form."""
        try:
            _ = given is None or Trace.from_json(given)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"not a trace: {error!r:.200}") from None
        return given

    def finding(self) -> Finding:
        place = (self.unit, self.line)
        trace = None if self.trace is None else Trace.from_json(self.trace)
        words = (self.code, self.severity, self.message, self.advice)
        return Finding(*words, *place, self.evidence, trace)


class _Report(_Open):
    """The form of a report in JSON: the reply of the check job (plugins/check_job.py)."""

    passed: bool
    findings: list[_Finding] = Field(max_length=1000)
    measurements: Measurements

    @model_validator(mode="after")
    def _agrees(self, info: ValidationInfo) -> _Report:
        """Refuse a verdict that the rest of the reply does not bear out."""
        if self.passed is any(found.severity == "error" for found in self.findings):
            raise ValueError("the verdict contradicts the findings")
        scales = (info.context or {}).get("scales", ())
        if self.passed and not set(scales) <= set(self.measurements.fits):
            raise ValueError("the block passed without a measurement at every scale")
        return self


@dataclass(frozen=True)
class DesignReport:
    """The report of a design's check; `data` is the JSON that it was read from, word by word."""

    passed: bool
    findings: tuple[Finding, ...]
    measurements: Measurements
    data: Mapping[str, object] = field(repr=False, compare=False)

    @classmethod
    def read(cls, reply: Mapping[str, object], scales: Sequence[str]) -> DesignReport:
        """Return what a worker replied, once it fits.

        Raises:
            ValidationError: a field is missing or wrong, or the verdict contradicts the findings,
                or a passing block was not measured at every scale.
        """
        form = _Report.model_validate(reply, context={"scales": tuple(scales)}, strict=True)
        return cls._of(form, reply)

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> DesignReport:
        """Return what `to_json` wrote; raises `ValidationError` where it is no report."""
        return cls._of(_Report.model_validate(data), data)

    @classmethod
    def refused(cls, finding: Finding) -> DesignReport:
        """Return the report of a check that found one error and measured nothing."""
        short = replace(finding, message=finding.message[:LONGEST])
        data = {"passed": False, "findings": [asdict(short)], "measurements": {}}
        return cls.from_json(data)

    @classmethod
    def _of(cls, form: _Report, data: Mapping[str, object]) -> DesignReport:
        findings = tuple(found.finding() for found in form.findings)
        return cls(form.passed, findings, form.measurements, data)

    @property
    def errors(self) -> list[str]:
        """The codes of what must be fixed."""
        return [found.code for found in self.findings if found.severity == "error"]

    def to_json(self) -> Mapping[str, object]:
        """Return the report as it was read: a prompt names its fields in their order."""
        return self.data

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(cls.from_json)
