"""The JSON Schema sent to servers: the form of a reply, without its bounds.

Servers turn a schema into a grammar, and what a grammar cannot say is dropped in silence or refuses
the request: llama.cpp drops bounds of numbers that are no integers, `multipleOf`, `not` and
patterns that it cannot translate, and some of its versions take no length of 2,000; others differ.
So bounds are never sent.  They are kept by checking the reply against the whole schema, which also
tells requests apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

KEPT = frozenset(("$ref", "const", "description", "enum", "required", "type"))
"""Keywords that are sent as they are."""
INNER = ("additionalProperties", "items")
LISTED = ("anyOf", "oneOf", "prefixItems")
NAMED = ("$defs", "definitions", "properties")
"""Keywords that hold a schema, a list of them, and a table of them."""
COUNTS = ("minItems", "maxItems")
MOST_ITEMS = 1000
"""The largest count of items that is sent; grammars write an item out as often."""
MOST_VALUES = 100
"""Bounded integers of so many values are sent as a list of them, which every grammar keeps."""


def sent_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema to send: every value that fits `schema` fits it too."""
    found = {key: value for key, value in schema.items() if key in KEPT}
    for key in INNER:
        if key in schema:
            found[key] = _inner(schema[key])
    for key in LISTED:
        if isinstance(listed := schema.get(key), Sequence):
            found[key] = [_inner(each) for each in listed]
    for key in NAMED:
        if isinstance(named := schema.get(key), Mapping):
            found[key] = {name: _inner(each) for name, each in named.items()}
    for key in COUNTS:
        if isinstance(count := schema.get(key), int) and count <= MOST_ITEMS:
            found[key] = count
    if "enum" not in found and (values := _values(schema)):
        found["enum"] = values
    return found


def _inner(schema: Any) -> Any:
    """Return the form to send of a nested schema, which may be true or false."""
    return sent_schema(schema) if isinstance(schema, Mapping) else schema


def response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a reply by a schema is asked for in OpenAI's protocol."""
    named = {"name": "reply", "schema": sent_schema(schema)}
    return {"type": "json_schema", "json_schema": named}


def _values(schema: Mapping[str, Any]) -> list[int]:
    """Return the integers that a bounded schema allows, [] where they are too many."""
    if schema.get("type") != "integer":
        return []
    low, high = schema.get("minimum"), schema.get("maximum")
    if isinstance(above := schema.get("exclusiveMinimum"), int):
        low = above + 1 if low is None else max(low, above + 1)
    if isinstance(below := schema.get("exclusiveMaximum"), int):
        high = below - 1 if high is None else min(high, below - 1)
    if not isinstance(low, int) or not isinstance(high, int) or high - low >= MOST_VALUES:
        return []
    return list(range(low, high + 1))
