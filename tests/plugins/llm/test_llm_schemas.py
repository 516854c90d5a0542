"""What is sent of a schema: its form and no bound, so that every server's grammar can keep it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from genesys_engine.operators.llm.ideation import _model
from genesys_engine.operators.llm.ratings import Rating
from genesys_engine.operators.llm.scratch import Sketch
from genesys_engine.plugins.llm.schemas import response_format, sent_schema

IDEA = _model(["root", "root.mlp"], ["root.mixer"], 2)
PLAIN_IDEA = _model(["root", "root.mlp"], [], 3)
MODELS = [Rating, Sketch, IDEA, PLAIN_IDEA]
GOOD: Mapping[Any, dict[str, Any]] = {
    Rating: {"reason": "fine", "score": 4},
    Sketch: {"title": "a block", "sketch": "two mixers side by side"},
    IDEA: {
        "title": "t",
        "motivation": "m",
        "changes": [{"path": "root.mlp", "take": "", "change": "c"}],
        "expected_effect": "e",
    },
    PLAIN_IDEA: {"title": "t", "motivation": "m", "changes": [{"path": "root", "change": "c"}]},
}
BAD = [
    (Rating, {"reason": "x" * 2001, "score": 4}),
    (Rating, {"reason": "x", "score": 6}),
    (Rating, {"reason": "x", "score": -1}),
    (Rating, {"score": 3}),
    (Sketch, {"title": "", "sketch": "s"}),
    (Sketch, {"title": "t", "sketch": "s" * 1501}),
    (IDEA, {**GOOD[IDEA], "title": "t" * 121}),
    (IDEA, {**GOOD[IDEA], "motivation": "t" * 1001}),
    (IDEA, {**GOOD[IDEA], "changes": []}),
    (IDEA, {**GOOD[IDEA], "changes": GOOD[IDEA]["changes"] * 3}),
    (IDEA, {**GOOD[IDEA], "changes": [{"path": "root.gone", "change": "c"}]}),
    (IDEA, {**GOOD[IDEA], "changes": [{"path": "root", "take": "root", "change": "c"}]}),
    (IDEA, {**GOOD[IDEA], "changes": [{"path": "root", "change": "c" * 601}]}),
    (IDEA, {**GOOD[IDEA], "expected_effect": "e" * 401}),
]
KEPT = {
    "$defs", "$ref", "additionalProperties", "anyOf", "const", "description", "enum", "items",
    "maxItems", "minItems", "oneOf", "prefixItems", "properties", "required", "type",
}  # fmt: skip
"""What llama.cpp's grammar keeps of a schema."""


def keywords(schema: Any) -> Iterator[str]:
    """Yield every keyword of a schema, at any depth."""
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        yield key
        if key in ("properties", "$defs"):
            for inner in value.values():
                yield from keywords(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from keywords(inner)
        else:
            yield from keywords(value)


@pytest.mark.parametrize("model", MODELS)
def test_every_schema_that_is_sent_uses_what_grammars_keep(model: Any) -> None:
    full = model.model_json_schema()
    sent = response_format(full)["json_schema"]["schema"]
    assert set(keywords(sent)) <= KEPT
    Draft202012Validator.check_schema(sent)
    assert Draft202012Validator(sent).is_valid(GOOD[model])
    assert model.model_validate(GOOD[model])


@pytest.mark.parametrize(("model", "value"), BAD)
def test_every_bound_is_kept_by_the_check_of_the_reply(model: Any, value: Any) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(value)


def test_a_small_range_of_integers_is_a_list() -> None:
    sent = sent_schema(Rating.model_json_schema())
    assert sent["properties"]["score"] == {"type": "integer", "enum": [0, 1, 2, 3, 4, 5]}
    assert sent["properties"]["reason"] == {"type": "string"}
    assert sent_schema({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 3}) == {
        "type": "integer",
        "enum": [1, 2],
    }
    assert sent_schema({"type": "integer", "minimum": 0, "maximum": 10**9}) == {"type": "integer"}
    assert sent_schema({"type": "number", "minimum": 0, "maximum": 5}) == {"type": "number"}


def test_what_a_grammar_may_refuse_is_left_out_at_any_depth() -> None:
    bounds = {"maxLength": 2000, "pattern": "^(?=a)", "format": "email", "minLength": 1}
    field = {"type": "string", **bounds}
    schema = {
        "$defs": {"pattern": field},
        "type": "object",
        "properties": {"pattern": field, "maxLength": {"type": "integer", "multipleOf": 3}},
        "patternProperties": {"^x": field},
        "additionalProperties": field,
        "anyOf": [{"required": ["pattern"]}, True],
        "not": field,
        "items": {"items": {"type": "number", "maximum": 1}, "maxItems": 5000, "minItems": 2},
    }
    assert sent_schema(schema) == {
        "$defs": {"pattern": {"type": "string"}},
        "type": "object",
        "properties": {"pattern": {"type": "string"}, "maxLength": {"type": "integer"}},
        "additionalProperties": {"type": "string"},
        "anyOf": [{"required": ["pattern"]}, True],
        "items": {"items": {"type": "number"}, "minItems": 2},
    }
