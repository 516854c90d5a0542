"""What `rung_fidelity.py` records: one training of one design by one recipe, a line of JSON each.

A recipe is what a rung says: scale, tokens, batch, trainer.  The file grows by whole lines and is
never rewritten, so that a recording that was ended continues where it stood, on any machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genesys_engine.gab.errors import InputError

POINTS = 50  # of a recorded curve


class Recipe(BaseModel):
    """How a design is trained; `lr_scale` multiplies all peak rates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scale: str
    tokens: int = Field(gt=0)
    batch_tokens: int = Field(gt=0)
    recipe: Literal["measured", "published"] = "measured"
    lr_scale: float = Field(1.0, gt=0)


class Record(BaseModel):
    """One training: `seed` 0 is that of a run's designs; `bits_per_byte` is held-out.

    `curve` holds (tokens, mean loss in nats per token since the point before); `cpu_s` is of the
    training and the evaluation together, as is `wall_s`; `train_s` is wall time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    design: str
    digest: str
    recipe: Recipe
    seed: int = Field(ge=0)
    status: Literal["ok", "failed"]
    reason: str
    bits_per_byte: float | None = Field(allow_inf_nan=False)
    stderr: float | None = Field(allow_inf_nan=False)
    parameters: int
    tokens: int
    curve: tuple[tuple[int, float], ...]
    cpu_s: float = Field(ge=0)
    train_s: float = Field(ge=0)
    wall_s: float = Field(ge=0)
    corpus: str
    machine: str
    versions: dict[str, str]

    @property
    def key(self) -> tuple[str, Recipe, int]:
        """What no two lines of a file have in common."""
        return self.digest, self.recipe, self.seed


def read_records(path: Path) -> list[Record]:
    """Return what was recorded so far; nothing where there is no file yet.

    Raises:
        InputError: a line is no record, or the same training is recorded twice.
    """
    found: dict[tuple[str, Recipe, int], Record] = {}
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
            record = Record.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the line"
            raise InputError(f"{place}: {first['msg']}", where=where, hint=hint) from None
        if record.key in found:
            raise InputError("this training is recorded twice", where=where, hint=hint)
        found[record.key] = record
    return list(found.values())


def append(path: Path, record: Record) -> None:
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
