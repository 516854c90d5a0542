"""The options of a component, for a person: name, type, default, meaning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genesys_engine.plugins.registry import Description


@dataclass(frozen=True)
class OptionRow:
    """One option; `default` as JSON data, `shown` as it would be written."""

    name: str
    type: str
    required: bool
    default: Any
    shown: str
    meaning: str


def option_rows(described: Description) -> list[OptionRow]:
    """Return the options of a component; imports it.

    Raises:
        PluginError: it cannot be imported, or its options are no model that refuses others.
    """
    model = described.options_model()
    if model is None:
        return []
    schema = model.model_json_schema()
    required = schema.get("required", ())
    return [
        OptionRow(
            name,
            _type(field, schema.get("$defs", {})),
            name in required,
            field.get("default"),
            json.dumps(field.get("default")),
            field.get("description", ""),
        )
        for name, field in schema.get("properties", {}).items()
    ]


def _type(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return a JSON schema in a few words."""
    if "$ref" in schema:
        return _type(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        return " | ".join(_type(option, definitions) for option in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " | ".join(json.dumps(v) for v in schema.get("enum", [schema.get("const")]))
    kind = str(schema.get("type", "any"))
    if kind == "array" and "items" in schema:
        return f"list of {_type(schema['items'], definitions)}"
    return kind
