"""The files of a job on a node that may not share the coordinator's disk.

A job reads what its `limits.readable` name and nothing else, and writes its scratch folder alone:
that is all that can have to travel.  A file counts as shared where the node sees it with the same
size and time of change, or with the same digest.  Anything else is sent once to the node, which
keeps it in a mirror of the coordinator's paths; the paths in the job are then changed to lead
there.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genesys_engine.plugins.corpus import file_digest
from genesys_engine.plugins.executors.node import NodeJob
from genesys_engine.plugins.sandbox.scratch import remove

CHUNK_BYTES = 32 << 20  # of a file that travels, so that no side holds all of it
FREE_BYTES = 4 << 30  # of a node's disk; for less, copies that were not used lately go


@dataclass(frozen=True)
class FileFact:
    """A file as the coordinator sees it."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Files:
    """What a job reads, by the folders that it knows them by; they are shared whole or not at all.

    `scratch` tells the scratch folder from another one of the same name.
    """

    folders: Mapping[str, tuple[FileFact, ...]]
    scratch: tuple[int, int]

    @classmethod
    def of(cls, job: NodeJob) -> Files:
        """Look at the files of a job.

        Raises:
            OSError: one is not there.
        """
        folders: dict[str, set[FileFact]] = {}
        for path in map(Path, job.limits.readable):
            folder = path if path.is_dir() else path.parent
            folders.setdefault(str(folder), set()).update(map(_fact, _below(path)))
        left = tuple(map(_fact, _plain(Path(job.scratch))))
        found = {name: tuple(sorted(facts, key=_path)) for name, facts in folders.items()}
        return cls({**found, job.scratch: left}, folder_identity(Path(job.scratch)))


def _path(fact: FileFact) -> str:
    return fact.path


def _fact(path: Path) -> FileFact:
    facts = path.stat()
    return FileFact(str(path), facts.st_size, facts.st_mtime_ns)


def _below(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, _, names in os.walk(path, followlinks=True):
        yield from (Path(folder, name) for name in names)


def _plain(folder: Path) -> list[Path]:
    """Return the files that lie in a scratch folder itself; a job laid them there."""
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.is_symlink())


def folder_identity(folder: Path) -> tuple[int, int]:
    """Return what tells a folder from another one of the same path, on whatever machine."""
    facts = folder.stat()
    return facts.st_ino, facts.st_mtime_ns


class Mirror:
    """A node's own copies, below `root`, under the paths that they have at the coordinator.

    Args:
        shared: whether files are looked for in their own place first.
    """

    def __init__(self, root: Path, *, shared: bool = True) -> None:
        self._root = root
        self._shared = shared
        self._accepted: set[FileFact] = set()  # in their own place, by digest
        self._received: dict[str, FileFact] = {}  # least recently used first
        self._lock = threading.RLock()

    def at(self, path: str) -> Path:
        """Return where the copy of a path lies."""
        return self._root / path.lstrip("/")

    def lacking(self, files: Files, scratch: str) -> list[FileFact]:
        """Return the files of a job that are neither in their own place nor here."""
        lacking: list[FileFact] = []
        with self._lock:
            for name, facts in files.folders.items():
                if name == scratch and self.shares_scratch(files, scratch):
                    continue
                in_place = name != scratch and self._shared
                lacking += [
                    fact
                    for fact in facts
                    if self._received.get(fact.path) != fact
                    and not (in_place and self._is_here(fact))
                ]
        return lacking

    def compare(self, digests: Mapping[FileFact, str]) -> tuple[list[FileFact], list[str]]:
        """Return which of these files have to be sent, and the paths at which another one lies."""
        needed, others = [], []
        for fact, digest in digests.items():
            path = Path(fact.path)
            if not self._shared or not path.is_file():
                needed.append(fact)
            elif path.stat().st_size == fact.size and file_digest(path) == digest:
                self._accepted.add(fact)
            else:
                needed.append(fact)
                others.append(fact.path)
        return needed, others

    def receive(self, fact: FileFact, offset: int, data: bytes, *, last: bool) -> None:
        """Write a piece of a file.

        Raises:
            OSError: the disk is full.
        """
        target = self.at(fact.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        with part.open("r+b" if offset else "wb") as file:
            file.seek(offset)
            file.write(data)
        if last:
            part.replace(target)
            with self._lock:
                self._received.pop(fact.path, None)
                self._received[fact.path] = fact

    def placed(self, job: NodeJob, files: Files) -> NodeJob:
        """Return a job that lacks nothing, with the paths that hold on this node."""
        moved = {}
        with self._lock:
            for name, facts in files.folders.items():
                if name == job.scratch:
                    if not self.shares_scratch(files, name):
                        self.at(name).mkdir(parents=True, exist_ok=True)
                        moved[name] = str(self.at(name))
                elif not (self._shared and all(map(self._is_here, facts))):
                    moved[name] = str(self.at(name))
                    self._complete(facts)
        return relocated(job, moved) if moved else job

    def _complete(self, facts: Sequence[FileFact]) -> None:
        """Have copies of all files of a folder, and note that they were used."""
        for fact in facts:
            if self._received.pop(fact.path, None) != fact:  # it is in its own place
                self.at(fact.path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(fact.path, self.at(fact.path))
            self._received[fact.path] = fact

    def shares_scratch(self, files: Files, scratch: str) -> bool:
        """Tell whether the coordinator's scratch folder is this node's too."""
        try:
            return self._shared and folder_identity(Path(scratch)) == files.scratch
        except OSError:
            return False

    def produced(self, scratch: str) -> list[FileFact]:
        """Return what a job left in its own scratch folder here, under the coordinator's path."""
        found = map(_fact, _plain(self.at(scratch)))
        return [replace(fact, path=f"{scratch}/{Path(fact.path).name}") for fact in found]

    def read(self, path: str, offset: int) -> bytes:
        """Return the next piece of a file that a job left."""
        with self.at(path).open("rb") as file:
            file.seek(offset)
            return file.read(CHUNK_BYTES)

    def drop(self, scratch: str) -> None:
        """Remove a scratch folder, and the oldest copies where the disk gets full."""
        remove(self.at(scratch))
        with self._lock:
            for path in [path for path in self._received if Path(path).parent == Path(scratch)]:
                del self._received[path]
            while self._received and shutil.disk_usage(self._root).free < FREE_BYTES:
                oldest = next(iter(self._received))
                del self._received[oldest]
                self.at(oldest).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove all copies."""
        remove(self._root)

    def _is_here(self, fact: FileFact) -> bool:
        """Tell whether a file is in its own place on this node."""
        try:
            return fact in self._accepted or _fact(Path(fact.path)) == fact
        except OSError:
            return False


def relocated(job: NodeJob, moved: Mapping[str, str]) -> NodeJob:
    """Return a job whose paths below the keys of `moved` lie below its values."""
    folders = sorted(moved, key=len, reverse=True)

    def path(text: str) -> str:
        for folder in folders:
            if text == folder or text.startswith(f"{folder}/"):
                return moved[folder] + text[len(folder) :]
        return text

    def value(data: Any) -> Any:
        if isinstance(data, str):
            return path(data)
        if isinstance(data, Mapping):
            return {key: value(item) for key, item in data.items()}
        return [value(item) for item in data] if isinstance(data, list | tuple) else data

    def paths(texts: Iterable[str]) -> tuple[str, ...]:
        return tuple(map(path, texts))

    limits = replace(
        job.limits,
        readable=paths(job.limits.readable),
        subject_readable=paths(job.limits.subject_readable),
    )
    payload = {  # the source of a design is text, and no path
        key: item if key == "source" else value(item) for key, item in job.payload.items()
    }
    return replace(job, payload=payload, scratch=path(job.scratch), limits=limits)
