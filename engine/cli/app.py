"""The group of commands, and how their errors are handled."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import click

from genesys_engine import __version__
from genesys_engine.engine.cli.near import NearGroup
from genesys_engine.engine.cli.python_output import (
    route_python_output,
    route_records,
    words_of_exit,
)
from genesys_engine.engine.common.waiting import Waiting, begin

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = "genesys-engine"
COMPLETING = "_GENESYS_ENGINE_COMPLETE"
"""What click's scripts for shells set when they ask."""

COMMANDS: Mapping[str, str] = {
    "init": "Write a commented experiment.toml to start from.",
    "validate": "Check an experiment and list every error with its location.",
    "plan": "Time a few training steps and estimate the cost of a run.",
    "run": "Run an experiment.",
    "resume": "Resume a stopped run or study, or extend a finished run.",
    "recover": "Restore a run with a damaged database.",
    "status": "Show the progress of a run.",
    "show": "Show one design: tree, lineage, scores, code.",
    "explain": "Show what a design owes to each of its parts (ablation).",
    "leaderboard": "List the designs of a run, best first.",
    "events": "Show the event log of a run, or its digest.",
    "compare": "Compare configurations (arms), with confidence intervals.",
    "calibrate": "Measure run-to-run training noise.",
    "check": "Audit a block: a Python file, a tree, or a design of a run.",
    "export": "Write a trained design as a model for transformers and lm-eval.",
    "dashboard": "Show runs and studies live in a browser.",
    "report": "Write the report of a run as one HTML page.",
    "data": "Download and list training corpora.",
    "llm": "Show language-model calls and costs, and record replies.",
    "knowledge": "Search the knowledge base, or add papers and notes to it.",
    "plugins": "List and inspect plugins and components, or create a plugin.",
    "config": "Print the JSON Schema of experiment files, for editors.",
    "doctor": "Check this machine and the installation.",
}
"""Command -> its line in the help, so that the help imports none of them."""


@dataclass
class Settings:
    """The program's own options; commands find them as `click.Context.obj`."""

    debug: bool = False
    waiting: Waiting | None = None

    def spoken(self) -> None:
        """Note that something was shown: the command no longer needs to say that it started."""
        if self.waiting is not None:
            self.waiting.over()


class LazyGroup(NearGroup):
    """A group that imports a command when it is called.

    A name that is not ours is looked for among the commands of plugins: only then are
    plugins loaded.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which one meets them."""
        return [*COMMANDS, *sorted(set(self.commands) - set(COMMANDS))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None if there is none of this name."""
        if cmd_name in COMMANDS:
            module = importlib.import_module(f"genesys_engine.engine.cli.commands.{cmd_name}")
            command: click.Command = module.command
            return command
        if cmd_name not in self.commands:
            from genesys_engine.plugins.host import PluginHost

            PluginHost().add_commands(self)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from `COMMANDS`."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    PROGRAM,
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 goal not met, 2 usage, configuration or plugin error, 3 bug, "
    "4 environment, 5 stopped by budget, 130 interrupted.",
)
@click.version_option(__version__, prog_name=PROGRAM)
@click.option("--debug", is_flag=True, help="Show the traceback of every error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Evolve language-model blocks: vary, compose, train, compare."""
    settings: Settings = ctx.obj
    settings.debug = debug
    if ctx.invoked_subcommand is not None:
        settings.waiting = begin(PROGRAM, ctx.invoked_subcommand)
        route_records()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; never raises (but SystemExit of a plugin).

    Args:
        arguments: those of the command line; None takes `sys.argv`.
    """
    settings = Settings()
    if COMPLETING in os.environ:
        from genesys_engine.engine.cli.completing import register

        register()
    try:
        answer: Any = cli.main(arguments, PROGRAM, standalone_mode=False, obj=settings)
    except BaseException as error:
        if isinstance(error, SystemExit):
            raise
        from genesys_engine.engine.cli.failures import report_failure

        settings.spoken()
        return report_failure(error, debug=settings.debug)
    finally:
        settings.spoken()
    return answer if isinstance(answer, int) else 0


def program() -> NoReturn:
    """Run the program and end the process with its exit code.

    A language model in this process cannot be stopped in the middle of a reply.  Where one is at
    it, the process ends without tidying up the interpreter: the libraries that the model runs in
    would be taken down under it, which ends in a segmentation fault.  All files are closed by then.
    """
    from genesys_engine.engine.common.interrupt import end_like_ctrl_c

    route_python_output()
    end_like_ctrl_c()
    try:
        code = main()
    except SystemExit as left:  # of a plugin: the interpreter would print what it says
        code = words_of_exit(left)
    if threading.active_count() > 1:
        from genesys_engine.engine.common.threads import LLM_CALL

        if any(thread.name == LLM_CALL for thread in threading.enumerate()):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    sys.exit(code)
