#!/usr/bin/env bash
# pydantic 2.14: a "before" validator of a model makes strict JSON refuse what it took until then.
#
# `model_validate_json(..., strict=True)` takes a JSON list for a tuple and a text for a date, since
# JSON has neither, as the page on strict mode says.  One `@model_validator(mode="before")` that
# returns its input untouched ends that for every field of the model: the text is parsed to Python
# objects first, and all fields are then read with the rules of strict Python.  A field's own
# "before" validator does the same to its field alone.
#
# Seen: the model takes [1, 2] for tuple[int, int] and "2026-01-02" for a date without the
# validator; with it both fields fail (tuple_type, date_type).
#
# Exits 0 while that is so.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q pydantic==2.14.3
"$work/venv/bin/python" - <<'PY'
from datetime import date

from pydantic import BaseModel, ValidationError, field_validator, model_validator

JSON = '{"pair": [1, 2], "day": "2026-01-02"}'


class Plain(BaseModel):
    pair: tuple[int, int]
    day: date


class WithModelValidator(Plain):
    @model_validator(mode="before")
    @classmethod
    def untouched(cls, given):
        return given


class WithFieldValidator(Plain):
    @field_validator("pair", mode="before")
    @classmethod
    def untouched(cls, given):
        return given


def faults(model):
    try:
        model.model_validate_json(JSON, strict=True)
    except ValidationError as error:
        return [(fault["loc"][0], fault["type"]) for fault in error.errors()]
    return []


found = {model.__name__: faults(model) for model in (Plain, WithModelValidator, WithFieldValidator)}
print(found)
assert found == {
    "Plain": [],
    "WithModelValidator": [("pair", "tuple_type"), ("day", "date_type")],
    "WithFieldValidator": [("pair", "tuple_type")],
}
PY
echo "still so: a before validator ends the rules of JSON"
