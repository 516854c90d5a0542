"""Typed records and their JSON: what stands in a table or the log, or crosses to a worker.

A record is a frozen dataclass.  `to_json` writes its fields as they are, `from_json` reads them
back and checks each against its annotation; fields that are not known are left out.  A record in
a record may have a `to_json` of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Record = TypeVar("Record")
_SPARSE = "sparse"
_ADAPTERS: dict[type, TypeAdapter[Any]] = {}  # made on first use: pydantic is not imported before
_Layout = tuple[tuple[str, bool, object], ...]
_LAYOUTS: dict[type, _Layout] = {}
"""Of each kind of record: its fields, whether the default of each is left out, and the default."""
_ATOMS = (str, int, float, type(None))


def sparse(default: Any) -> Any:
    """Return a field that JSON leaves out where it has its default."""
    return field(default=default, metadata={_SPARSE: True})


def to_json(record: object) -> dict[str, object]:
    """Return the fields of a record as JSON data, those of records in it likewise."""
    found: dict[str, object] = {}
    for name, is_sparse, default in _layout(type(record)):
        value = getattr(record, name)
        if not (is_sparse and value == default):
            found[name] = plain(value)
    return found


def _layout(kind: type[Any]) -> _Layout:
    if (layout := _LAYOUTS.get(kind)) is None:
        layout = tuple((each.name, _SPARSE in each.metadata, each.default) for each in fields(kind))
        _LAYOUTS[kind] = layout
    return layout


def from_json(kind: type[Record], data: object) -> Record:
    """Return the record of a kind that `data` holds.

    Raises:
        ValueError: a field is missing, or of another type; the message names it.
    """
    if (adapter := _ADAPTERS.get(kind)) is None:
        from pydantic import TypeAdapter

        adapter = _ADAPTERS[kind] = TypeAdapter(kind)
    return cast("Record", adapter.validate_python(data))


def plain(value: object) -> object:
    """Return a value as JSON data: records as their fields, whatever lies in them likewise."""
    if isinstance(value, _ATOMS):
        return value
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if (own := getattr(value, "to_json", None)) is not None:
        return own()
    if is_dataclass(value):
        return to_json(value)
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return value
