"""The digest of a component's source: it identifies an edited plugin even if its version stays the
same."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path


def source_digest(target: str) -> str:
    """Return a digest over the source of the "package.module:Class" `target`.

    That of a module is its file, that of a package all that lies in it: a component may use the
    rest of its package.  Where they lie does not count.  Without a source it is that of nothing.
    """
    digest = hashlib.sha256()
    for name, file in _source_files(target.partition(":")[0]):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{name}\0{content}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def _source_files(module: str) -> list[tuple[str, Path]]:
    """Return (name, file) of all that the outermost package of a module holds, or of itself."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        try:
            spec = find_spec(".".join(parts[:depth]))
        except (ImportError, ValueError):
            return []
        if spec is None:
            return []
        file = Path(spec.origin or "")
        if not file.is_file():  # a namespace: packages of others lie in it as well
            continue
        if not spec.submodule_search_locations:
            return [(file.name, file)]
        found = sorted(file.parent.rglob("*.py"))
        return [(path.relative_to(file.parent).as_posix(), path) for path in found]
    return []
