"""What a node has to meet before it gets work: versions, isolation, and the code of the plugins.

The coordinator states its `Terms` once, and the code that a job names with each job.  A node
answers with the first thing that is not met, in one sentence that names the node.
"""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import genesys_engine
from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.sandbox import Isolation, Level
from genesys_engine.plugins.source_digest import source_digest

ENGINE = "genesys_engine"
NOTHING = hashlib.sha256().hexdigest()  # the digest of a module that is not there


@dataclass(frozen=True)
class Terms:
    """What the coordinator asks of every node.

    `versions` are its own; `path` holds the folders that its components are imported from.
    """

    require: Level
    versions: Mapping[str, str]
    path: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the terms as they travel."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Terms:
        """Return the terms that `to_json` wrote."""
        return cls(data["require"], dict(data["versions"]), tuple(data["path"]))


def terms_here(require: Level) -> Terms:
    """Return the terms of a coordinator that runs in this process."""
    return Terms(require, versions_here(), tuple(map(os.path.abspath, sys.path)))


def node_name() -> str:
    """Return what this machine calls itself."""
    return socket.gethostname()


@cache
def versions_here() -> Mapping[str, str]:
    """Return the versions that decide what a training gives.

    Of Python the first two numbers, of torch what is not its build (CPU, CUDA); `engine code` is
    a digest, which tells two checkouts of one version apart.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        torch = version("torch").partition("+")[0]
    except PackageNotFoundError:
        torch = "none"
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "genesys-engine": genesys_engine.__version__,
        "torch": torch,
        "engine code": _engine_digest(),
    }


def _engine_digest() -> str:
    """Return a digest over the engine's own source, the same for a checkout and a wheel."""
    root = Path(genesys_engine.__file__).parent
    digest = hashlib.sha256()
    files = sorted(
        Path(folder, name)
        for folder, _, names in os.walk(root, followlinks=True)
        for name in names
        if name.endswith(".py")
    )
    for file in files:
        digest.update(f"{file.relative_to(root).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def code_of(target: str, payload: Mapping[str, Any]) -> dict[str, str]:
    """Return the digest of the code behind each target of a job, by module, but the engine's."""
    modules = {name.partition(":")[0] for name in (target, *_targets(payload))}
    return {
        module: source_digest(module)
        for module in sorted(modules)
        if module.partition(".")[0] != ENGINE
    }


def _targets(value: Any) -> Iterator[str]:
    """Yield the components that a payload names, at whatever depth."""
    if isinstance(value, Mapping):
        if isinstance(target := value.get("target"), str):
            yield target
        for item in value.values():
            yield from _targets(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _targets(item)


def extend_path(path: Sequence[str]) -> None:
    """Look for modules where the coordinator does too, after everything that is here already."""
    sys.path += [each for each in path if each not in sys.path and Path(each).exists()]


def version_fault(terms: Terms) -> str:
    """Say what this node has in another version than the coordinator; "" for nothing."""
    here = versions_here()
    for name, wanted in terms.versions.items():
        if here.get(name) != wanted:
            found = here.get(name, "none")
            return f"it has {name} {found}, and the coordinator {wanted}"
    return ""


def isolation_fault(terms: Terms, isolation: Isolation) -> str:
    """Say what this node lacks of the level that is required; "" for nothing."""
    try:
        isolation.demand(terms.require)
    except EnvironmentProblem as error:
        return error.message.replace("this machine", "it")
    return ""


def code_fault(code: Mapping[str, str]) -> str:
    """Say which component is missing on this node or is another one; "" for none."""
    for module, digest in code.items():
        here = source_digest(module)
        if here != digest:
            if here.removeprefix("sha256:") == NOTHING:
                return f"the plugin module {module!r} is missing there"
            return f"the plugin module {module!r} is another version there (its source differs)"
    return ""
