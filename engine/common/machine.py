"""The facts of the machine and of the installation that a run records; none names the machine."""

from __future__ import annotations

import contextlib
import os
import platform
import sys

from genesys_engine import __version__

VERSIONED = ("genesys-engine", "torch", "deap", "lm-eval", "datasets", "tokenizers", "numpy")


def versions() -> dict[str, str]:
    """Return the versions that a run records."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version(), "genesys-engine": __version__}
    for name in VERSIONED[1:]:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def machine() -> dict[str, str | int | None]:
    """Return the facts of the machine that a run records; none of them names it."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": sys.implementation.name,
    }
