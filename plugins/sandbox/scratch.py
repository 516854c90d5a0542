"""What the parent does with a folder that a job has had: take files out of it, and remove it.

The job is gone by then, so nothing changes while we look; but whatever lies there was laid by it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.sandbox.protocol import Limits, Outcome

_MAX_HEADER_BYTES = 16 << 20
_MAX_DIMENSIONS = 32
_SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2,
    "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip

_DISK_FULL = ("No space left on device", "Disk quota exceeded")


def ran_out_of_disk(outcome: Outcome, scratch: Path, limits: Limits) -> bool:
    """Tell whether a job failed because the disk of this machine is full.

    A job that says so is believed only where the disk has no room for the largest file that it
    might write.
    """
    blamed = outcome.status != "ok" and any(sign in outcome.reason for sign in _DISK_FULL)
    return blamed and shutil.disk_usage(scratch).free < limits.file_bytes


def remove(folder: Path) -> None:
    """Remove a folder whatever is in it: locked folders, links, any depth; never raises OSError.

    `shutil.rmtree` calls itself once per level, which a thousand nested folders turn into a
    crash, and gives up at a folder without permissions.
    """
    try:
        folder.rmdir()  # most are empty, or not there
        return
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError:
        pass
    top = _open_folder(folder)
    if top is None:
        return
    try:
        os.fchmod(top, 0o700)  # its owner may have locked it
        while _flatten(top):
            pass
        folder.rmdir()
    except OSError:  # what cannot go stays
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(top)


def _open_folder(folder: Path) -> int | None:
    """Open a folder that its owner may have locked; None where there is none, or a link."""
    how = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        return os.open(folder, how)
    except PermissionError:
        pass
    except OSError:
        return None
    try:
        if not folder.is_symlink() and folder.is_dir():
            folder.chmod(0o700)
        return os.open(folder, how)
    except OSError:
        return None


def _flatten(top: int) -> bool:
    """Remove the files below `top` and lift the folders two levels down up by one.

    Returns whether folders are left.
    """
    lifted = False
    for name, folder in _entries(top):
        if not folder:
            os.unlink(name, dir_fd=top)
            continue
        os.chmod(name, 0o700, dir_fd=top)
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
        try:
            for entry, deeper in _entries(inner):
                if deeper:
                    lifted = True
                    os.chmod(entry, 0o700, dir_fd=inner)  # a locked one cannot be moved
                    new = secrets.token_hex(16)  # no name that a job could have taken
                    os.rename(entry, new, src_dir_fd=inner, dst_dir_fd=top)
                else:
                    os.unlink(entry, dir_fd=inner)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=top)
    return lifted


def _entries(folder: int) -> list[tuple[str, bool]]:
    """Return the names in an open folder, and which of them are folders."""
    with os.scandir(folder) as entries:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]


def read_plain(path: Path, most_bytes: int) -> bytes:
    """Return the bytes of a small file that a job left, or is about to replace.

    Raises:
        InputError: not there, a link, a device, a second name of some file, or too large.
    """
    with _opened(path, most_bytes) as file:
        return file.read(most_bytes)


@contextmanager
def _opened(path: Path, most_bytes: int) -> Iterator[BinaryIO]:
    """Open a plain file of its own, of `most_bytes` at most, without following or waiting."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, ValueError) as error:  # the latter for a name that none can have
        reason = getattr(error, "strerror", error)
        raise InputError(f"cannot be opened: {reason}", where=path.name) from error
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
            raise InputError("is not a plain file of its own", where=path.name)
        if facts.st_size > most_bytes:
            raise InputError(f"{facts.st_size} bytes exceed {most_bytes}", where=path.name)
        with os.fdopen(handle, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(handle)


def take_tensors(path: Path, most_bytes: int) -> None:
    """Check that a job left a whole safetensors file under `path`, before the parent keeps it.

    Reads the header only.  The format: eight bytes of length, a JSON object of
    name -> dtype, shape, data_offsets, then the data without gaps.

    Raises:
        InputError: a link, a device, a second name of some file, too large, or not of that form.
    """
    with _opened(path, most_bytes) as file:
        whole = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_MAX_HEADER_BYTES, whole - 8):
            raise InputError("is no safetensors file: wrong header", where=path.name)
        header = file.read(length)
    try:
        size = _described_bytes(json.loads(header.decode()), whole)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"is no safetensors file: {error!r}", where=path.name) from error
    if size != whole - 8 - length:
        raise InputError("does not hold what its header says", where=path.name)


def _described_bytes(header: dict[str, Any], most_bytes: int) -> int:
    """Return the bytes that a header describes."""
    metadata = header.pop("__metadata__", {})
    if not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("metadata that are no texts")
    end = 0
    for begin, stop in sorted(_span(tensor, most_bytes) for tensor in header.values()):
        if begin != end:
            raise ValueError("a gap or an overlap between tensors")
        end = stop
    return end


def _span(tensor: dict[str, Any], most_bytes: int) -> tuple[int, int]:
    begin, stop = tensor["data_offsets"]
    size, shape = _SIZES[tensor["dtype"]], tensor["shape"]
    if len(shape) > _MAX_DIMENSIONS:
        raise ValueError("a shape of too many dimensions")
    for extent in shape:
        if type(extent) is not int or extent < 0:
            raise ValueError("a shape that is none")
        size *= extent
        if size > most_bytes:
            raise ValueError("a tensor that is larger than its file")
    if not (type(begin) is int and type(stop) is int and stop - begin == size):
        raise ValueError("a tensor of another size than its shape")
    return begin, stop
