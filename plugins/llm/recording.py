"""Recordings: the calls of a ledger as JSON lines, compressed by the ending of the file's name.

    {"format": "genesys-engine llm recording", "version": 1}
    {"digest": ..., "model": ..., "role": ..., "request": {...}, "reply": "...", ...}

`.jsonl` is plain, `.jsonl.gz` gzip, `.jsonl.xz` LZMA (prompts repeat much: it is far smaller).
"""

from __future__ import annotations

import gzip
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from genesys_engine.gab.errors import InputError
from genesys_engine.gab.private import private_file

HEAD = {"format": "genesys-engine llm recording", "version": 1}
ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.xz")


def write_recording(path: Path, calls: Iterable[Mapping[str, Any]]) -> int:
    """Write a recording, whole or not at all; return the number of calls."""
    partial = path.with_name(f".partial-{path.name}")
    count = 0
    try:
        with _open(private_file(partial), "wt", path.name) as file:
            file.write(json.dumps(HEAD) + "\n")
            for call in calls:
                file.write(json.dumps(call, sort_keys=True, separators=(",", ":")) + "\n")
                count += 1
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return count


def read_recording(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the calls of a recording.

    Raises:
        InputError: there is none, or the file is damaged; the message names the line.
    """
    if not path.is_file():
        raise InputError(
            "no such recording",
            where=str(path),
            hint="make one of a run: genesys-engine llm record RUN FILE",
        )
    lines = 1
    try:
        with _open(path, "rt", path.name) as file:
            head = json.loads(file.readline())
            if not isinstance(head, dict) or head.get("format") != HEAD["format"]:
                raise ValueError("its first line is not that of a recording")
            if head.get("version") != HEAD["version"]:
                raise ValueError(f"its version is {head.get('version')}, not {HEAD['version']}")
            for line in file:
                lines += 1
                call = json.loads(line)
                if not isinstance(call, dict) or not isinstance(call.get("digest"), str):
                    raise ValueError("this is no call")
                yield call
    except (ValueError, OSError, EOFError, RecursionError, lzma.LZMAError, zlib.error) as error:
        raise InputError(
            f"the recording cannot be read: {error}", where=f"{path}:{lines}"
        ) from error


def _open(path: Path, mode: str, name: str) -> Any:
    encoding = "utf-8-sig" if mode == "rt" else "utf-8"  # an editor may begin a file with a mark
    if name.endswith(".jsonl.gz"):
        return gzip.open(path, mode, encoding=encoding)
    if name.endswith(".jsonl.xz"):
        return lzma.open(path, mode, encoding=encoding)
    if name.endswith(".jsonl"):
        return path.open(mode, encoding=encoding)
    raise InputError("a recording ends in " + ", ".join(ENDINGS), where=str(path.with_name(name)))
