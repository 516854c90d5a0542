"""`genesys-engine export RUN DESIGN DIR`: a design as a model for transformers and lm-eval."""

from __future__ import annotations

from pathlib import Path

import click

from genesys_engine.engine.cli.near import NearChoice
from genesys_engine.engine.cli.output import json_option, note, print_json
from genesys_engine.engine.cli.run_folder import design_argument, run_argument


@click.command("export")
@run_argument
@design_argument
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--rung", help="Scale of the training; by default the largest.")
@click.option(
    "--seed", "replicate", type=int, help="Training seed at that scale; by default the first."
)
@click.option(
    "--format",
    "form",
    type=NearChoice(["transformers", "onnx"]),
    default="transformers",
    show_default=True,
    help="A model for transformers and lm-eval, or an ONNX graph.",
)
@json_option
def command(
    run: Path,
    design: str,
    folder: Path,
    rung: str | None,
    replicate: int | None,
    form: str,
    as_json: bool,
) -> None:
    """Write the trained model of DESIGN in RUN to DIR, a new or empty folder.

    DESIGN is a number or the name of a seed.
    The model loads with transformers' AutoModelForCausalLM (trust_remote_code=True) on machines
    without genesys-engine; README.md in DIR explains how, and how lm-eval reproduces the scores.
    With --format onnx it is a graph for onnxruntime and others, compared with PyTorch on several
    lengths; some blocks cannot be exported, and the reason is given.
    """
    from genesys_engine.engine.export import export, export_onnx
    from genesys_engine.engine.store.names import find_design
    from genesys_engine.engine.store.run_store import Store

    with Store.open(run) as store:
        write = export_onnx if form == "onnx" else export
        number = find_design(store, design)
        done = write(store, number, folder, scale=rung, replicate=replicate, say=note)
    if as_json:
        print_json(done.to_json())
        return
    for line in done.lines():
        note(line)
