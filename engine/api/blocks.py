"""The check of a block from Python: a file, a source, a class, or a design of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genesys_engine.engine.api.class_source import class_source
from genesys_engine.engine.api.designs import Design
from genesys_engine.engine.api.failures import engine_errors
from genesys_engine.engine.check import audit
from genesys_engine.engine.check.audit import AuditResult, Target
from genesys_engine.engine.check.audits import audit_all
from genesys_engine.engine.check.sizes import CONTEXTS, LAYERS, WIDTH_STEP, WIDTHS
from genesys_engine.gab.checks.brief import brief
from genesys_engine.gab.checks.report import Finding
from genesys_engine.gab.errors import InputError


@dataclass(frozen=True)
class BlockCheck:
    """What the check of a block found.

    `findings` come most important first, and so do the `machine_findings`, which hold on this
    machine alone; `measurements` follow from the block, `facts` are times of this machine.
    """

    name: str
    source: str
    passed: bool
    findings: tuple[Finding, ...]
    machine_findings: tuple[Finding, ...]
    measurements: Mapping[str, Any]
    facts: Mapping[str, float]
    result: AuditResult

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the findings, such as causality.leak."""
        return tuple(found.code for found in self.findings)

    def __str__(self) -> str:
        """Return the report as `genesys-engine check` prints it."""
        return brief(
            self.result.report,
            name=self.name,
            source=self.source,
            machine_findings=self.machine_findings,
            facts=self.facts,
        )

    def __repr__(self) -> str:
        """Return whether it passed, and the codes of its findings."""
        found = f": {', '.join(self.codes)}" if self.codes else ""
        return f"<BlockCheck {self.name}: {'passed' if self.passed else 'failed'}{found}>"

    def _repr_html_(self) -> str:
        from genesys_engine.engine.report.templates import render

        return render("card_check", check=self, lines=self.source.split("\n"))


def check(
    block: str | os.PathLike[str] | type | Design,
    *,
    class_name: str = "",
    d_model: int = 128,
    layers: int = 2,
    context: int = 128,
    fast: bool = False,
) -> BlockCheck:
    """Check a block in an isolated process and return what was found.

    Nothing of the block runs in this process; the source of a class is read, not executed.

    Args:
        block: a class (any `torch.nn.Module` that maps X of shape (batch, time, width) to the
            same shape), the path of a Python file or of a tree in JSON, a source as text of
            several lines, or a design.
        class_name: name of the class in a file or a source; by default `Block`, or the only
            module in it.
        d_model: its width, a multiple of 16.
        layers: number of stacked blocks.
        context: context length in training, in tokens.
        fast: static checks, causality and gradients only.

    Raises:
        InputError: there is no such file, it is not text, or an argument is out of range.
        EnvironmentProblem: the machine could not run the check.
    """
    for name, value, (least, most) in (
        ("d_model", d_model, WIDTHS),
        ("layers", layers, LAYERS),
        ("context", context, CONTEXTS),
    ):
        if not least <= value <= most:
            raise InputError(f"{name} = {value} is not in {least} to {most}")
    if d_model % WIDTH_STEP:
        raise InputError(f"d_model = {d_model} is not a multiple of {WIDTH_STEP}")
    if isinstance(block, type):
        class_name = class_name or block.__name__
    with engine_errors():
        target = _target(block)
        (result,) = audit_all(
            [target],
            class_name=class_name,
            d_model=d_model,
            layers=layers,
            context=context,
            fast=fast,
        )
    report = result.report
    return BlockCheck(
        target.name,
        target.source,
        report.passed,
        tuple(report.findings),
        result.machine_findings,
        report.measurements,
        result.facts,
        result,
    )


def _target(block: str | os.PathLike[str] | type | Design) -> Target:
    if isinstance(block, type):
        return Target(block.__name__, class_source(block))
    if isinstance(block, Design):
        return audit.find_target(str(block.run), str(block.id))
    if isinstance(block, str) and "\n" in block.strip():
        return Target("block", block)
    if isinstance(block, str | os.PathLike):
        return audit.find_target(str(Path(block)))
    raise InputError(
        f"a {type(block).__name__} is no block",
        hint="give a class (not an object of it), a path, a source as text, or a design",
    )
