"""Tables that use a component: `use`, the section's own keys, and the component's options."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, create_model

from genesys_engine.engine.config.document import Document
from genesys_engine.engine.config.paths import whole_paths
from genesys_engine.engine.config.positions import Path
from genesys_engine.engine.config.schema import Component, Section
from genesys_engine.engine.config.validate import validate, value_name
from genesys_engine.gab.errors import PluginError
from genesys_engine.plugins.targets import incidental_options

if TYPE_CHECKING:
    from genesys_engine.plugins.registry import Registry

C = TypeVar("C", bound=Component)

NESTED = frozenset({"options", "roles"})
"""Fields of a component that are no keys of its own: they are read apart."""
FINITE = "write a finite number; a very large one, such as 1e30, for no limit"


class NoOptions(Section):
    """The options of a component that takes none."""


def read_component(
    document: Document,
    path: Path,
    kind: str,
    model: type[C],
    default: str | None,
    registry: Registry,
) -> C | None:
    """Read the table at `path`, or report its faults and return None.

    Args:
        kind: kind of component that `use` names.
        model: what the table becomes; its fields less `options` are the section's own keys.
        default: the component if `use` is left out; None makes `use` a must.
    """
    table: Any = document.data
    for part in path:
        table = table.get(part, {}) if isinstance(part, str) else table[part]
    if default is not None:
        table = {"use": default} | table
    own_keys = [key for key in model.model_fields if key not in NESTED]
    given = whole_paths(document, model, path, {k: table[k] for k in own_keys if k in table})
    own = validate(document, path, _own(model), given)
    if not isinstance(table.get("use"), str):
        return None  # reported above; without it nothing is known of the options
    try:
        described = registry.get(kind, table["use"])
        described.require_class_options()
        options_model = described.options_model() or NoOptions
    except PluginError as error:
        document.report((*path, "use"), error.message, error.hint)
        return None
    apart = set(model.model_fields) - {"options"}
    rest = {key: value for key, value in table.items() if key not in apart}
    rest = whole_paths(document, options_model, path, rest)
    options = validate(document, path, options_model, rest, tuple(own_keys))
    if own is None or options is None:
        return None
    if report_endless(document, path, rest):
        return None
    made = model(**own.model_dump(), options=options.model_dump(mode="json"))
    made._incidental = incidental_options(options_model, made.options)
    return made


def report_endless(document: Document, path: Path, options: Any) -> bool:
    """Report the numbers in options that are infinite or none at all; tell if there are any.

    A run keeps its options as JSON, which has no such numbers.
    """
    found = list(_endless(path, options))
    for place, value in found:
        message = f"{value_name(place)} must be a finite number, not {value!r}"
        document.report(place, message, FINITE)
    return bool(found)


def _endless(path: Path, value: Any) -> Iterator[tuple[Path, float]]:
    """Yield the numbers in a value that are infinite or none at all, with their places."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path, value
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _endless((*path, key), item)


def _own(model: type[Component]) -> type[BaseModel]:
    """Return the model of the section's own keys: `model` without what is read apart."""
    own = {key: field for key, field in model.model_fields.items() if key not in NESTED}
    fields: Any = {key: (field.annotation, field) for key, field in own.items()}
    made: type[BaseModel] = create_model(f"Own{model.__name__}", __base__=Section, **fields)
    return made
