"""`genesys-engine dashboard [RUNS...]`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from genesys_engine.engine.cli.output import answer, note
from genesys_engine.gab.errors import EnvironmentProblem

RUNS = Path("runs")
NEEDED = ("starlette", "uvicorn", "sse_starlette")


@click.command("dashboard")
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port; 8765 by default, or any free one where that is taken.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Others than this machine's own show the runs to whoever has the"
    " address with its token, unencrypted.",
)
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="A further name under which a browser may ask; repeatable.",
)
@click.option(
    "--control",
    is_flag=True,
    help="Let the page stop a run after its running trials, and pin a design for promotion.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
def command(
    runs: tuple[Path, ...],
    port: int | None,
    host: str,
    names: tuple[str, ...],
    control: bool,
    opens: bool,
) -> None:
    """Show RUNS live in a browser: progress, evolution tree, leaderboard, every design.

    RUNS are folders of runs or studies, or folders that hold some; `runs` by default. Prints the
    address, whose token is the key; Ctrl-C ends it. Read-only, unless --control is given.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise EnvironmentProblem(
            f"the dashboard needs {', '.join(missing)}, not installed here",
            hint="pip install 'genesys-engine[dashboard]'",
        )
    from genesys_engine.engine.dashboard.serve import Options, prepare

    prepared = prepare(runs or (RUNS,), Options(host, port, names, control))
    answer(prepared.address)
    note("open this address in a browser; Ctrl-C ends the dashboard")
    if opens:
        click.launch(prepared.address)
    prepared.run()
