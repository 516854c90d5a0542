"""What `rung_fidelity.py` and `skill_fidelity.py` record of one design, a line of JSON each: one
training by one recipe, or what one skill task says.

A recipe is what a rung says: scale, tokens, batch, trainer.  The file grows by whole lines and is
never rewritten, so that a recording that was ended continues where it stood, on any machine.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Hashable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genesys_engine.gab.errors import InputError

POINTS = 50  # of a recorded curve
MACHINE = {
    "machine": f"{platform.machine()}, {os.cpu_count()} processors",
    "versions": {"python": platform.python_version()}
    | {package: version(package) for package in ("genesys-engine", "torch")},
}


class Line(BaseModel):
    """A line of a file: what was recorded of one design, where, and by which versions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    design: str
    digest: str
    seed: int = Field(ge=0)
    cpu_s: float = Field(ge=0)
    machine: str
    versions: dict[str, str]

    @property
    def key(self) -> Hashable:
        """What no two lines of a file have in common."""
        raise NotImplementedError


AnyLine = TypeVar("AnyLine", bound=Line)


class Recipe(BaseModel):
    """How a design is trained; `lr_scale` multiplies all peak rates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scale: str
    tokens: int = Field(gt=0)
    batch_tokens: int = Field(gt=0)
    recipe: Literal["measured", "published"] = "measured"
    lr_scale: float = Field(1.0, gt=0)


RECIPES = {
    "long": Recipe(scale="1M", tokens=196_608, batch_tokens=1024),
    "rung": Recipe(scale="0.2M", tokens=131_072, batch_tokens=512),
    "rung published": Recipe(scale="0.2M", tokens=131_072, batch_tokens=512, recipe="published"),
    "half": Recipe(scale="0.2M", tokens=65_536, batch_tokens=512),
    "quick": Recipe(scale="0.2M", tokens=49_152, batch_tokens=256),
    "quick published": Recipe(scale="0.2M", tokens=49_152, batch_tokens=256, recipe="published"),
    "next rung": Recipe(scale="1M", tokens=262_144, batch_tokens=512),
    "rung x 0.5": Recipe(scale="0.2M", tokens=131_072, batch_tokens=512, lr_scale=0.5),
    "rung x 2": Recipe(scale="0.2M", tokens=131_072, batch_tokens=512, lr_scale=2.0),
}


class Record(Line):
    """One training: `seed` 0 is that of a run's designs; `bits_per_byte` is held-out.

    `curve` holds (tokens, mean loss in nats per token since the point before); `cpu_s` is of the
    training and the evaluation together, as is `wall_s`; `train_s` is wall time.
    """

    recipe: Recipe
    status: Literal["ok", "failed"]
    reason: str
    bits_per_byte: float | None = Field(allow_inf_nan=False)
    stderr: float | None = Field(allow_inf_nan=False)
    parameters: int
    tokens: int
    curve: tuple[tuple[int, float], ...]
    train_s: float = Field(ge=0)
    wall_s: float = Field(ge=0)
    corpus: str

    @property
    def key(self) -> tuple[str, Recipe, int]:
        """A design, its recipe and its seed."""
        return self.digest, self.recipe, self.seed


class SkillRecord(Line):
    """What one skill task says of a design: the accuracy of a model trained on it and that of the
    same model untrained; None where it failed for the `reason`.  `options` are the task's."""

    skill: str
    options: dict[str, int]
    accuracy: float | None = Field(ge=0, le=1)
    untrained: float | None = Field(ge=0, le=1)
    reason: str

    @property
    def key(self) -> tuple[str, str, tuple[tuple[str, int], ...], int]:
        """A design, the task with its options, and the seed."""
        return self.digest, self.skill, tuple(sorted(self.options.items())), self.seed


def read_records(path: Path) -> list[Record]:
    """Return the trainings that a file holds; see `read_lines`."""
    return read_lines(path, Record)


def read_lines(path: Path, kind: type[AnyLine]) -> list[AnyLine]:
    """Return what was recorded so far; nothing where there is no file yet.

    Raises:
        InputError: a line is no record of this kind, or the same is recorded twice.
    """
    found: dict[Hashable, AnyLine] = {}
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    for number, line in enumerate(lines, 1):
        where, hint = f"{path}:{number}", "delete this line; `record` trains what is missing again"
        try:
            if not line.endswith(b"\n"):
                raise InputError("the line was cut", where=where, hint=hint)
            record = kind.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the line"
            raise InputError(f"{place}: {first['msg']}", where=where, hint=hint) from None
        if record.key in found:
            raise InputError("the same is recorded twice", where=where, hint=hint)
        found[record.key] = record
    return list(found.values())


def append(path: Path, record: Line) -> None:
    """Add a line, and see that it is on the disk."""
    with path.open("ab") as file:
        file.write(record.model_dump_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def thinned(curve: Iterable[Iterable[Any]], points: int = POINTS) -> tuple[tuple[int, float], ...]:
    """Return a curve of at most `points` points, each the mean of those it stands for."""
    full = [(int(tokens), float(loss)) for tokens, loss in curve]
    per = -(-len(full) // points) or 1
    runs = [full[at : at + per] for at in range(0, len(full), per)]
    return tuple((run[-1][0], round(sum(loss for _, loss in run) / len(run), 4)) for run in runs)
