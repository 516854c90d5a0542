"""Faults of a plugin, found before one of its hooks is called, each with its line.

pluggy would refuse most of this too, but without a place, and an `async` hook it would call and
never await.
"""

from __future__ import annotations

import inspect
from importlib import metadata
from pathlib import Path
from typing import Any

from genesys_engine import __version__
from genesys_engine.gab.errors import PluginError
from genesys_engine.plugins import hookspecs
from genesys_engine.plugins.registry import suggest

PREFIX = "genesys_"
HEAVY = (
    "torch", "transformers", "datasets", "lm_eval", "tensorflow", "jax", "zarr", "plotly",
    "litellm", "lancedb", "sentence_transformers", "scipy", "pandas", "sklearn", "wandb", "mlflow",
)  # fmt: skip
"""Modules that a plugin must not import while it is loaded: every command would wait for them."""


class HookFault(PluginError):
    """A fault of one hook: `location` is its file:line."""

    def __init__(self, message: str, location: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.location = location


def vet(plugin: Any) -> None:
    """Check every hook of a plugin.

    Raises:
        HookFault: a hook does not exist, is not marked, is async or takes other arguments.
    """
    specs = {name: f for name, f in vars(hookspecs).items() if name.startswith(PREFIX)}
    for name in dir(plugin):
        if not name.startswith(PREFIX):
            continue
        hook = getattr(plugin, name)
        if not callable(hook):
            continue
        if name not in specs:
            raise _fault(hook, f"unknown hook {name!r}", suggest(name, specs))
        if not hasattr(hook, f"{hookspecs.PROJECT}_impl"):
            raise _fault(hook, f"the hook {name!r} is not marked", "put @api.hookimpl above it")
        if inspect.iscoroutinefunction(hook) or inspect.isasyncgenfunction(hook):
            raise _fault(hook, f"the hook {name!r} is async", "hooks are called: write `def`")
        known = list(inspect.signature(specs[name]).parameters)
        for argument in inspect.signature(hook).parameters:
            if argument not in known:
                raise _fault(
                    hook,
                    f"the hook {name!r} has no argument {argument!r}",
                    f"write def {name}({', '.join(known)})",
                )


def _fault(hook: Any, message: str, hint: str) -> HookFault:
    return HookFault(message, place_of(hook), hint)


def place_of(function: Any) -> str:
    """Return file:line of a function's `def`, or ""."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return ""
    try:
        lines, first = inspect.getsourcelines(code)
    except (OSError, TypeError):
        return f"{code.co_filename}:{code.co_firstlineno}"
    # The first line is that of a decorator; a person looks for the `def`.
    skip = next((i for i, line in enumerate(lines) if "def " in line), 0)
    return f"{code.co_filename}:{first + skip}"


def check_engine_version(dist: metadata.Distribution) -> None:
    """Check that a distribution is made for this engine.

    Raises:
        HookFault: it asks for another version of genesys-engine.
    """
    for text in dist.requires or ():
        if not text.lower().replace("_", "-").startswith("genesys-engine"):
            continue
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name
        from packaging.version import Version

        wanted = Requirement(text)
        if canonicalize_name(wanted.name) != "genesys-engine":
            continue
        mine = Version(__version__)
        # A development version counts as the release that it becomes.
        fits = (wanted.specifier.contains(v, prereleases=True) for v in (mine, mine.base_version))
        if not any(fits):
            raise HookFault(
                f"it is made for genesys-engine{wanted.specifier}, this is {__version__}",
                _requirement_line(dist, text),
                f"install a version of {dist.metadata['Name']} that fits, or that genesys-engine",
            )


def _requirement_line(dist: metadata.Distribution, requirement: str) -> str:
    """Return file:line of a requirement in the metadata, or ""."""
    folder = getattr(dist, "_path", None)
    lines = (dist.read_text("METADATA") or "").splitlines()
    wanted = f"Requires-Dist: {requirement}"
    if folder is None or wanted not in lines:
        return ""
    return f"{Path(str(folder)) / 'METADATA'}:{lines.index(wanted) + 1}"
