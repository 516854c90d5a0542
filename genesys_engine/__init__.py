"""genesys-engine: a plugin-based evolutionary engine that discovers language-model architectures.

`gab` holds the genome, `plugins` the hooks and the built-in components, `operators` the
variation, `engine` the loop, the Python API and the command line.

    import genesys_engine as ge

    run = ge.run("experiments/quickstart.toml")
    run.leaderboard()

The public names are listed in `__all__`; each is imported when it is first asked for, so that
importing the package takes no time.  `docs/python.md` describes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from genesys_engine.engine.api.blocks import BlockCheck as BlockCheck
    from genesys_engine.engine.api.blocks import check as check
    from genesys_engine.engine.api.designs import Design as Design
    from genesys_engine.engine.api.experiment import Experiment as Experiment
    from genesys_engine.engine.api.models import UntrustedCode as UntrustedCode
    from genesys_engine.engine.api.models import load_model as load_model
    from genesys_engine.engine.api.runs import Run as Run
    from genesys_engine.engine.api.session import compare as compare
    from genesys_engine.engine.api.session import plan as plan
    from genesys_engine.engine.api.session import resume as resume
    from genesys_engine.engine.api.session import run as run
    from genesys_engine.engine.api.studies import Study as Study
    from genesys_engine.engine.config.problems import ConfigError as ConfigError
    from genesys_engine.engine.config.problems import Problem as Problem
    from genesys_engine.engine.run.plan import Plan as Plan
    from genesys_engine.engine.store.events import Event as Event
    from genesys_engine.gab.checks.report import Finding as Finding
    from genesys_engine.gab.errors import EnvironmentProblem as EnvironmentProblem
    from genesys_engine.gab.errors import GenesysError as EngineError
    from genesys_engine.gab.errors import InputError as InputError
    from genesys_engine.gab.errors import PluginError as PluginError

_API = "genesys_engine.engine.api"
_PUBLIC = {
    "BlockCheck": f"{_API}.blocks",
    "ConfigError": "genesys_engine.engine.config.problems",
    "Design": f"{_API}.designs",
    "EngineError": "genesys_engine.gab.errors:GenesysError",
    "EnvironmentProblem": "genesys_engine.gab.errors",
    "Event": "genesys_engine.engine.store.events",
    "Experiment": f"{_API}.experiment",
    "Finding": "genesys_engine.gab.checks.report",
    "InputError": "genesys_engine.gab.errors",
    "Plan": "genesys_engine.engine.run.plan",
    "PluginError": "genesys_engine.gab.errors",
    "Problem": "genesys_engine.engine.config.problems",
    "Run": f"{_API}.runs",
    "Study": f"{_API}.studies",
    "UntrustedCode": f"{_API}.models",
    "check": f"{_API}.blocks",
    "compare": f"{_API}.session",
    "load_model": f"{_API}.models",
    "plan": f"{_API}.session",
    "resume": f"{_API}.session",
    "run": f"{_API}.session",
}
"""Public name -> where it lies, with the name it has there if that is another."""

__all__ = [
    "BlockCheck",
    "ConfigError",
    "Design",
    "EngineError",
    "EnvironmentProblem",
    "Event",
    "Experiment",
    "Finding",
    "InputError",
    "Plan",
    "PluginError",
    "Problem",
    "Run",
    "Study",
    "UntrustedCode",
    "check",
    "compare",
    "load_model",
    "plan",
    "resume",
    "run",
]


if not TYPE_CHECKING:  # a checker would take every name for a public one

    def __getattr__(name: str) -> object:
        """Import a public name when it is first asked for (PEP 562)."""
        if name not in _PUBLIC:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        module, _, real = _PUBLIC[name].partition(":")
        found: object = getattr(import_module(module), real or name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    """Return the public names, and those that every module has."""
    return sorted({*globals(), *__all__})
