"""Pydantic's findings, as faults with their place, in the words of the file."""

from __future__ import annotations

import re
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from genesys_engine.engine.common.options import TomlTable
from genesys_engine.engine.config.document import Document
from genesys_engine.engine.config.positions import Path
from genesys_engine.plugins.registry import suggest
from genesys_engine.plugins.targets import read_options

M = TypeVar("M", bound=BaseModel)


def validate(
    document: Document,
    path: Path,
    model: type[M],
    table: TomlTable,
    also: tuple[str, ...] = (),
) -> M | None:
    """Return `table` read by `model`, or None after its faults are reported at `path`.

    Args:
        also: further keys that are allowed next to the model's, for "did you mean".
    """
    try:
        return typing.cast(M, read_options(model, table))
    except ValidationError as error:
        faults = error.errors(include_url=False)
        for fault in faults:
            if not _follows(fault, faults):
                _report(document, path, model, fault, also)
        return None


def _follows(fault: ErrorDetails, faults: Sequence[ErrorDetails]) -> bool:
    """Whether a list is called too short only because its items are faulty."""
    place = fault["loc"]
    return fault["type"] == "too_short" and any(
        other["loc"][: len(place)] == place for other in faults if other is not fault
    )


def _report(
    document: Document,
    path: Path,
    model: type[BaseModel],
    fault: ErrorDetails,
    also: tuple[str, ...],
) -> None:
    where = path + fault["loc"]
    key, table = where[-1], where[:-1]
    if fault["type"] == "extra_forbidden":
        known = [*_keys(model, fault["loc"][:-1]), *also]
        message = f"unknown key {key!r} in {_table(table)}"
        document.report_key(where, message, suggest(str(key), known))
    elif fault["type"] == "missing" and isinstance(key, str):
        document.report_key(table, f"missing key {key!r} in {_table(table)}")
    elif fault["type"] == "missing" and isinstance(key, int):
        document.report(
            table, f"{value_name(table)} has too few values", f"it needs {key + 1} or more"
        )
    else:
        document.report(where, value_name(where) + _reason(fault))


def _reason(fault: ErrorDetails) -> str:
    """Return pydantic's message as the rest of a sentence, and what stands there instead."""
    text, replaced = re.subn(
        r"^(Input|Value|List|Tuple|Dictionary|String) should ", " must ", fault["msg"]
    )
    if not replaced:  # the words of a validator
        return ": " + re.sub(r"^(Value|Assertion) error, ", "", text)
    value = fault["input"]
    return f"{text}, not {value!r}" if isinstance(value, str | int | float) else text


def _table(path: Path) -> str:
    """Return how a person calls a table: [run], [[ladder.rungs]] 2, [selection.inner]."""
    if isinstance(path[-1], int):
        return f"[[{value_name(path[:-1])}]] {path[-1] + 1}"
    return f"[{value_name(path)}]"


def value_name(path: Path) -> str:
    """Return how a person calls a value: run.workers, population.parents (item 3)."""
    words = (f" (item {part + 1})" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(words).removeprefix(".")


def _keys(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """Return the keys of the model that stands at `path` inside `model`."""
    for part in path:
        if isinstance(part, int):
            continue  # an item of a list: its model was found through the list
        field = model.model_fields.get(part)
        inner = model_in(field.annotation) if field else None
        if inner is None:
            return []
        model = inner
    return [field.alias or key for key, field in model.model_fields.items()]


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the first model inside an annotation such as tuple[Model, ...] | None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (model_in(argument) for argument in typing.get_args(annotation))
    return next((model for model in found if model), None)
