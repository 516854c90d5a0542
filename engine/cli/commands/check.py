"""`genesys-engine check PATH`: audit a block in an isolated worker."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from genesys_engine.engine.cli.output import clean, json_option, print_json
from genesys_engine.gab.errors import EXIT_GOAL_NOT_MET, EXIT_OK

if TYPE_CHECKING:
    from genesys_engine.engine.auditing import AuditResult, Target


@click.command("check")
@click.argument("path")
@click.option("--class", "class_name", default="Block", show_default=True, help="Name of a class.")
@click.option(
    "--d-model", default=128, show_default=True, type=click.IntRange(16, 2048), help="Its width."
)
@click.option(
    "--layers", default=2, show_default=True, type=click.IntRange(1, 16), help="Blocks in a row."
)
@click.option("--fast", is_flag=True, help="Static look, causality and gradients only.")
@json_option
def command(
    path: str, class_name: str, d_model: int, layers: int, fast: bool, as_json: bool
) -> int:
    """Audit a block and say what to mend, most important first.

    PATH is a Python file that defines Block(embed_dim, block_loc, device=None, dtype=None), a
    tree in JSON, or RUN:ID for a design of a run.  The block runs in an isolated process.

    Exit code 0 passed, 1 there are errors, 2 usage.
    """
    from genesys_engine.engine import auditing

    if d_model % 16:
        raise click.BadParameter(f"{d_model} is not a multiple of 16", param_hint="--d-model")
    target = auditing.find_target(path)
    result = _run(
        target,
        class_name=class_name,
        d_model=d_model,
        layers=layers,
        level="fast" if fast else "full",
        reference="" if fast else auditing.reference_source(),
    )
    if as_json:
        print_json(_as_json(target, result, "fast" if fast else "full"))
    else:
        click.echo(clean(_as_text(target, result)))
    return EXIT_OK if result.report.passed else EXIT_GOAL_NOT_MET


def _run(target: Target, **order: Any) -> AuditResult:
    from genesys_engine.engine import auditing
    from genesys_engine.plugins.executors.process import ProcessExecutor, ProcessOptions

    if target.refused is not None:  # nothing to run: spare the worker
        return auditing.read_refusal(target)
    executor = ProcessExecutor(ProcessOptions(preload=auditing.PRELOAD), workers=1)
    try:
        return auditing.audit(target, executor, **order)
    finally:
        executor.close()


def _as_text(target: Target, result: AuditResult) -> str:
    from genesys_engine.gab.checks.brief import brief

    return brief(
        result.report,
        name=target.name,
        source=target.source,
        machine_findings=result.machine_findings,
        facts=result.facts,
    )


def _as_json(target: Target, result: AuditResult, level: str) -> dict[str, Any]:
    from genesys_engine.engine.auditing import versions
    from genesys_engine.gab.sandbox import isolation_here, sandbox_status

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
