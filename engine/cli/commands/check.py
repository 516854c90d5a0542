"""`genesys-engine check PATH`: audit a block in an isolated worker."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from genesys_engine.engine.cli.output import answer, json_option, print_json
from genesys_engine.gab.errors import EXIT_GOAL_NOT_MET, EXIT_OK

if TYPE_CHECKING:
    from genesys_engine.engine.check.audit import AuditResult, Target


@click.command("check")
@click.argument("path", required=False)
@click.argument("design", required=False)
@click.option(
    "--class",
    "class_name",
    default="",
    help="Name of the class.  [default: Block, or the only module in the file]",
)
@click.option(
    "--d-model", default=128, show_default=True, type=click.IntRange(16, 2048), help="Its width."
)
@click.option(
    "--layers",
    default=2,
    show_default=True,
    type=click.IntRange(1, 16),
    help="Number of stacked blocks.",
)
@click.option(
    "--context",
    default=128,
    show_default=True,
    type=click.IntRange(16, 8192),
    help="Context length in training, in tokens; leaks are searched up to there.",
)
@click.option("--fast", is_flag=True, help="Static checks, causality and gradients only.")
@click.option("--template", is_flag=True, help="Print a starter block and check nothing.")
@json_option
def command(
    path: str | None,
    design: str | None,
    class_name: str,
    d_model: int,
    layers: int,
    context: int,
    fast: bool,
    template: bool,
    as_json: bool,
) -> int:
    """Audit a block and list what to fix, most important first.

    PATH is a Python file with any torch.nn.Module that maps X of shape (batch, time, width) to
    the same shape, a tree in JSON, or a run; DESIGN is then the number of the design to audit, or
    the name of a seed.  The block runs in an isolated process.

    \b
    genesys-engine check --template > my_block.py
    genesys-engine check my_block.py
    genesys-engine check runs/quickstart 8

    Exit code 0 passed, 1 errors found, 2 usage error.
    """
    if template:
        from genesys_engine.engine.cli.block_template import TEMPLATE

        answer(TEMPLATE, nl=False)
        return EXIT_OK
    if path is None:
        raise click.UsageError("give the PATH of a block, or --template for a starter block")
    from genesys_engine.engine.check import audit

    if d_model % 16:
        raise click.BadParameter(f"{d_model} is not a multiple of 16", param_hint="--d-model")
    target = audit.find_target(path, design)
    result = _run(
        target,
        class_name=class_name,
        adapt=True,
        d_model=d_model,
        layers=layers,
        context=context,
        level="fast" if fast else "full",
        reference_seed="" if fast else audit.REFERENCE,
    )
    if as_json:
        print_json(_as_json(target, result, "fast" if fast else "full"))
    else:
        answer(_as_text(target, result))
    return EXIT_OK if result.report.passed else EXIT_GOAL_NOT_MET


def _run(target: Target, **order: Any) -> AuditResult:
    from genesys_engine.engine.check import audit
    from genesys_engine.engine.common.temporary import temporary_folder
    from genesys_engine.plugins.sandbox.host import SandboxHost

    if target.refused is not None:  # nothing to run: spare the worker
        return audit.read_refusal(target)
    with (
        temporary_folder("check") as scratch,  # removed when no job writes there any more
        closing(SandboxHost(workers=1, preload=audit.preload_for(target.source))) as host,
    ):
        return audit.audit(target, host, scratch=scratch, **order)


def _as_text(target: Target, result: AuditResult) -> str:
    from genesys_engine.gab.checks.brief import brief

    return brief(
        result.report,
        name=target.name,
        source=target.source,
        machine_findings=result.machine_findings,
        facts=result.facts,
    )


def _as_json(target: Target, result: AuditResult, level: str) -> dict[str, object]:
    from genesys_engine.engine.check.audit import versions
    from genesys_engine.plugins.sandbox import isolation_here, sandbox_status

    isolation = isolation_here()
    return {
        "target": target.name,
        "level": level,
        "verdict": "passed" if result.report.passed else "failed",
        "findings": [asdict(found) for found in result.report.findings],
        "measurements": dict(result.report.measurements),
        "machine": {
            "facts": dict(result.facts),
            "findings": [asdict(found) for found in result.machine_findings],
        },
        "sandbox": {
            "level": isolation.level,
            "measures": {m.name: m.active for m in sandbox_status(isolation)},
        },
        "versions": versions(),
    }
