"""Plugins that are not installed: a file or a folder next to the experiment that names it.

    mine.py                a module
    mine/__init__.py       a package
    mine/pyproject.toml    a project: its entry points, as if it were installed

Its folder is put on the import path, at the end, so that workers find its components by the
same "module:Class" string.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli

from genesys_engine.gab.errors import PluginError

DISTRIBUTION = "local"


@dataclass(frozen=True)
class LocalPlugin:
    """One plugin of a path: its name, the module or "module:object", its folder."""

    distribution: str
    version: str
    name: str
    target: str
    folder: Path

    def load(self) -> Any:
        """Import it.

        Raises:
            PluginError: another module of that name is found first.
        """
        if str(self.folder) not in sys.path:
            sys.path.append(str(self.folder))
        importlib.invalidate_caches()
        module_name, _, attribute = self.target.partition(":")
        module = importlib.import_module(module_name)
        file = Path(getattr(module, "__file__", None) or "/").resolve()
        if not file.is_relative_to(self.folder):
            raise PluginError(
                f"the module {module_name!r} is another one: {file}",
                hint=f"give the one in {self.folder} a name of its own",
            )
        return getattr(module, attribute) if attribute else module


def find_local(path: Path) -> list[LocalPlugin]:
    """Return the plugins at an absolute path.

    Raises:
        PluginError: it has none of the three forms of a plugin.
    """
    if path.is_file() and path.suffix == ".py" and path.stem.isidentifier():
        return [LocalPlugin(DISTRIBUTION, _digest([path]), path.stem, path.stem, path.parent)]
    if (path / "pyproject.toml").is_file():
        return _project(path)
    if (path / "__init__.py").is_file() and path.name.isidentifier():
        version = _digest(sorted(path.rglob("*.py")))
        return [LocalPlugin(DISTRIBUTION, version, path.name, path.name, path.parent)]
    raise PluginError(
        f"no plugin at {path}",
        hint="name a .py file, a package with __init__.py, or a folder with pyproject.toml",
    )


def _project(path: Path) -> list[LocalPlugin]:
    """Return the plugins of a project's entry points."""
    file = path / "pyproject.toml"
    try:
        project = tomli.loads(file.read_text(encoding="utf-8-sig")).get("project", {})
    except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PluginError(f"{file} cannot be read: {error}") from error
    points = project.get("entry-points", {}).get("genesys_engine", {})
    if not points:
        raise PluginError(
            f"{file} announces no plugin", hint="add [project.entry-points.genesys_engine]"
        )
    folder = path / "src" if (path / "src").is_dir() else path
    name = str(project.get("name", DISTRIBUTION))
    version = str(project.get("version", _digest(sorted(folder.rglob("*.py")))))
    return [LocalPlugin(name, version, key, points[key], folder) for key in sorted(points)]


def _digest(files: list[Path]) -> str:
    """Return a digest that runs record in place of a version."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return f"sha256:{digest.hexdigest()[:12]}"
