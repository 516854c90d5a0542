"""`genesys-engine check PATHS`: audit blocks in an isolated worker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genesys_engine.engine.check.sizes import CONTEXTS, LAYERS, WIDTH_STEP, WIDTHS
from genesys_engine.engine.cli.near import NearChoice
from genesys_engine.engine.cli.output import (
    answer,
    in_json,
    json_option,
    note,
    print_json,
    reserve_stdout,
)
from genesys_engine.gab.errors import EXIT_GOAL_NOT_MET, EXIT_INPUT, EXIT_OK, InputError

if TYPE_CHECKING:
    from genesys_engine.engine.check.audit import Target
    from genesys_engine.engine.cli.audit_formats import Audited, Unreadable

FORMATS = ("text", "json", "sarif", "github")


@click.command("check")
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option(
    "--class",
    "class_name",
    default="",
    help="Name of the class.  [default: Block, or the only module in the file]",
)
@click.option(
    "--d-model", default=128, show_default=True, type=click.IntRange(*WIDTHS), help="Its width."
)
@click.option(
    "--layers",
    default=2,
    show_default=True,
    type=click.IntRange(*LAYERS),
    help="Number of stacked blocks.",
)
@click.option(
    "--context",
    default=128,
    show_default=True,
    type=click.IntRange(*CONTEXTS),
    help="Context length in training, in tokens; leaks are searched up to there.",
)
@click.option("--fast", is_flag=True, help="Static checks, causality and gradients only.")
@click.option("--template", is_flag=True, help="Print a starter block and check nothing.")
@click.option(
    "--format",
    "form",
    type=NearChoice(FORMATS),
    help="Text, JSON, a SARIF log, or annotations of a GitHub job.  [default: text]",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    paths: tuple[str, ...],
    class_name: str,
    d_model: int,
    layers: int,
    context: int,
    fast: bool,
    template: bool,
    form: str | None,
    as_json: bool,
) -> int:
    """Audit blocks and list what to fix, most important first.

    PATH is a Python file with any torch.nn.Module that maps X of shape (batch, time, width) to
    the same shape, a tree in JSON, or a design of a run as RUN:DESIGN; DESIGN is its number, or
    the name of a seed.  One design may also be given as RUN DESIGN.  Blocks run in isolated
    processes.

    \b
    genesys-engine check --template > my_block.py
    genesys-engine check my_block.py
    genesys-engine check runs/quickstart 8
    genesys-engine check --fast --format sarif blocks/*.py > blocks.sarif

    Exit code 0 all passed, 1 errors found, 2 usage error or unreadable file.
    """
    if template:
        from genesys_engine.engine.cli.block_template import TEMPLATE

        answer(TEMPLATE, nl=False)
        return EXIT_OK
    if not paths:
        raise click.UsageError("give the PATH of a block, or --template for a starter block")
    if d_model % WIDTH_STEP:
        message = f"{d_model} is not a multiple of {WIDTH_STEP}"
        raise click.BadParameter(message, param_hint="--d-model")
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json and --format {form} exclude each other: give one")
    form = "json" if as_json else form or "text"
    if form != "text":
        reserve_stdout(ctx)
    from genesys_engine.engine.check.audits import audit_all
    from genesys_engine.engine.cli.audit_formats import Audited

    targets, unreadable = _find(paths)
    shape = {"d_model": d_model, "layers": layers, "context": context}
    results = audit_all(targets, class_name=class_name, fast=fast, **shape)
    audited = map(Audited, targets, results)
    if form == "text":
        return _answer_text(audited, unreadable, several=len(paths) > 1)
    found = list(audited)
    code = _exit_code(found, unreadable)
    _answer_data(form, found, unreadable, "fast" if fast else "full", code)
    return code


def _find(paths: Sequence[str]) -> tuple[list[Target], list[Unreadable]]:
    """Return what is to be audited, and what cannot be read.

    Raises:
        InputError: the only target cannot be read.
    """
    from genesys_engine.engine.check.audit import find_target
    from genesys_engine.engine.cli.audit_formats import Unreadable

    if len(paths) == 2 and Path(paths[0]).is_dir():
        return [find_target(*paths)], []
    targets, unreadable = [], []
    for path in paths:
        try:
            targets.append(find_target(path))
        except InputError as error:
            if len(paths) == 1:
                raise
            note(f"genesys-engine: {error}")
            unreadable.append(Unreadable(path, str(error)))
    return targets, unreadable


def _exit_code(audited: Iterable[Audited], unreadable: Sequence[Unreadable]) -> int:
    """Return the worst code of all targets."""
    failed = any(not each.result.report.passed for each in audited)
    return EXIT_INPUT if unreadable else EXIT_GOAL_NOT_MET if failed else EXIT_OK


def _answer_text(
    audited: Iterable[Audited], unreadable: Sequence[Unreadable], *, several: bool
) -> int:
    """Answer with each audit when it is over; of several, count them in the last line."""
    from genesys_engine.engine.cli.audit_formats import as_text

    found = []
    for each in audited:
        answer(as_text(each) + "\n" * several)
        found.append(each)
    if several:
        passed = sum(each.result.report.passed for each in found)
        counts = (passed, "passed"), (len(found) - passed, "failed"), (len(unreadable), "not read")
        answer(", ".join(f"{count} {word}" for count, word in counts if count))
    return _exit_code(found, unreadable)


def _answer_data(
    form: str, audited: Sequence[Audited], unreadable: Sequence[Unreadable], level: str, code: int
) -> None:
    from genesys_engine.engine.cli import audit_formats

    if form == "github":
        answer(audit_formats.github(audited, unreadable), nl=False)
    elif form == "sarif":
        answer(in_json(audit_formats.sarif(audited, unreadable, exit_code=code), indent=2))
    else:
        data = [audit_formats.as_data(each, level) for each in audited]
        print_json(data[0] if len(data) == 1 and not unreadable else data)
