"""Real text for the audit's short training: the source of Python's own standard library.

Present on every machine, and read from the modules' files without importing them.  A token is a
byte, so no tokenizer has to be trained.
"""

from __future__ import annotations

import sysconfig
from functools import cache
from pathlib import Path

VOCABULARY = 256
# Long modules with much documentation in them, that every version from 3.11 to 3.13 has.
MODULES = ("argparse", "datetime", "inspect", "subprocess", "tarfile", "threading", "typing")
_BYTES = 40_000  # of each


@cache
def training_text() -> bytes:
    """Return about 240,000 bytes of Python source; the same for the same version of Python.

    Raises:
        FileNotFoundError: this Python came without its library's source.
    """
    return b"".join(_read(name) for name in MODULES[:-1])


@cache
def unseen_text() -> bytes:
    """Return the text of a module that `training_text` does not hold."""
    return _read(MODULES[-1])


def _read(name: str) -> bytes:
    folder = Path(sysconfig.get_paths()["stdlib"])
    plain, package = folder / f"{name}.py", folder / name / "__init__.py"
    if name == "datetime" and (folder / "_pydatetime.py").exists():
        plain = folder / "_pydatetime.py"  # where Python 3.12 moved it
    return (plain if plain.exists() else package).read_bytes()[:_BYTES]
