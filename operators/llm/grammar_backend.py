"""A back end without a model: it answers the roles' requests with units that the grammar writes.

It takes the request from `LLMRequest.purpose` instead of the prompt, and replies in the form that
a model would use.  With fault rates the designer can be studied in simulation: every unit is
broken with the given probability, independently of the others.  Such numbers simulate the process
and say nothing about any language model.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import field_validator, model_validator

from genesys_engine.gab.errors import InputError, UnitError
from genesys_engine.gab.unit import Unit, parse_unit
from genesys_engine.operators import grammar
from genesys_engine.operators.llm.grammar_faults import (
    FAULTS,
    edit_result,
    insert_in_constructor,
    rename,
    with_imports,
)
from genesys_engine.plugins.api import Field, LLMPrice, LLMReply, LLMRequest, Options
from genesys_engine.plugins.llm.requests import request_digest

CUT, PROSE, UNCHANGED = "cut", "prose", "unchanged"
KINDS = (*FAULTS, CUT, PROSE, UNCHANGED)
"""Every kind of fault: those of code, a reply that breaks off, none at all, no change."""
CHARACTERS_PER_TOKEN = 4
EDITS = (
    ("self.gain = nn.Parameter(torch.full((1,), {value}, device=device, dtype=dtype))",
     "({result}) * self.gain"),
    ("self.keep = nn.Parameter(torch.full((1,), {value}, device=device, dtype=dtype))",
     "self.keep * ({result}) + (1 - self.keep) * X"),
)  # fmt: skip
"""Changes of a unit that has children: (line of the constructor, form of the result)."""


class GrammarOptions(Options):
    """The fault rates of the replies."""

    faults: dict[str, float] = Field(
        default_factory=dict,
        description=f"probability of each kind of fault in a unit that is asked for"
        f" ({', '.join(KINDS)}); what is left is a working unit",
    )
    approval: float = Field(
        1.0, ge=0, le=1, description="probability that a reviewer or observer is content"
    )

    @field_validator("faults")
    @classmethod
    def _known(cls, faults: dict[str, float]) -> dict[str, float]:
        for kind, rate in faults.items():
            if kind not in KINDS:
                raise ValueError(f"there is no fault {kind!r}; there is {', '.join(KINDS)}")
            if not 0 <= rate <= 1:
                raise ValueError(f"the probability of {kind} is {rate:g}")
        return faults

    @model_validator(mode="after")
    def _sums(self) -> GrammarOptions:
        if sum(self.faults.values()) > 1 + 1e-9:
            raise ValueError("the probabilities of the faults sum to more than 1")
        return self


class GrammarBackend:
    """Answers from the request alone: equal requests get equal replies, in any order."""

    Options = GrammarOptions
    live = False
    price = LLMPrice(0.0, 0.0)

    def __init__(self, options: GrammarOptions | None = None) -> None:
        self.options = options or GrammarOptions()

    def complete(self, request: LLMRequest) -> LLMReply:
        """Return the reply; see `LLMBackend`."""
        rng = random.Random(f"{request_digest(request)}/grammar")
        role = str(request.purpose.get("role", ""))
        details: dict[str, Any] = {"finish_reason": "stop", "simulated": True}
        if request.schema is not None:
            text = json.dumps(_Filler(request, rng, self.options.approval).value(request.schema))
        elif role == "coder":
            text, faults = self._code(request.purpose, rng)
            details["faults"] = faults
            if CUT in faults:
                details["finish_reason"] = "length"
        else:
            text = _plan(request.purpose)
        asked = sum(len(part) for _, part in request.messages)
        counts = (1 + asked // CHARACTERS_PER_TOKEN, 1 + len(text) // CHARACTERS_PER_TOKEN)
        return LLMReply(text, *counts, details, 0.0)

    def close(self) -> None:
        """Nothing is held."""

    def _code(self, purpose: Mapping[str, Any], rng: random.Random) -> tuple[str, list[str]]:
        """Return a reply with one block of code per unit, and the faults that are in it."""
        units: Sequence[Mapping[str, Any]] = purpose.get("units") or [purpose]
        drawn = [self._fault(rng) if _asked(unit, purpose) else "" for unit in units]
        faults = [fault for fault in drawn if fault]
        if PROSE in faults:
            return "I would rather describe it: the idea is to scale what is mixed.", faults
        blocks = []
        for unit, fault in zip(units, drawn, strict=True):
            source = str(unit.get("source") or "")
            if _asked(unit, purpose) and fault != UNCHANGED:
                source = write(unit, rng)
            elif source:
                source = rename(source, str(unit["unit"]))
            if fault in FAULTS:
                source = FAULTS[fault](source, rng)
            blocks.append(f"```python\n{source}```\n")
        text = "\n".join(blocks)
        return (text[: int(len(text) * 0.7)] if CUT in faults else text), faults

    def _fault(self, rng: random.Random) -> str:
        """Draw the fault of one unit, "" for none."""
        point = rng.random()
        for kind, rate in self.options.faults.items():
            point -= rate
            if point < 0:
                return kind
        return ""


def write(unit: Mapping[str, Any], rng: random.Random) -> str:
    """Return the source of a working unit in place of `unit`: same name, interface and slots.

    A unit without children is written from scratch; one with children is modified, because its use
    of them cannot be guessed.

    Raises:
        InputError: there is neither a source nor a production for the interface.
    """
    name, interface = str(unit.get("unit") or "Written"), str(unit.get("interface") or "")
    source = str(unit.get("source") or "")
    slots = unit.get("slots") or {}
    before = _read(source)
    if not slots and interface in grammar.PRODUCTIONS and interface != "block":
        for _ in range(20):
            made = grammar.write_unit(interface, rng, leaf=True)
            fresh = before is None or made.digest != before.digest
            if fresh and set(made.inputs) <= set(unit.get("inputs") or ()):
                return rename(made.source, name)
    if before is None:
        raise InputError(
            f"the grammar cannot write a unit of interface {interface!r}",
            where='[llm] use = "grammar"',
            hint=f"without a source to change it writes {', '.join(grammar.PRODUCTIONS)}",
        )
    return rename(_changed(before, rng), name)


def _changed(unit: Unit, rng: random.Random) -> str:
    """Return a working variation of a unit, with its slots and hyper-parameters."""
    edits = list(EDITS)
    rng.shuffle(edits)
    value = rng.choice((0.6, 0.7, 0.8, 0.9))
    for line, form in edits:
        attribute = line.split(" ")[0]
        if attribute in unit.source:
            continue
        source = edit_result(unit.source, form)
        source = insert_in_constructor(source, line.format(value=value))
        return with_imports(source, ("import torch", "from torch import nn"))
    return edit_result(unit.source, f"({{result}}) * {value}")


def _asked(unit: Mapping[str, Any], purpose: Mapping[str, Any]) -> bool:
    """Return whether a unit is to be written: alone, or as one of several changes."""
    return bool(unit.get("change")) if purpose.get("units") else True


def _read(source: str) -> Unit | None:
    try:
        return parse_unit(source) if source else None
    except UnitError:
        return None


def _plan(purpose: Mapping[str, Any]) -> str:
    names = [str(unit["unit"]) for unit in purpose.get("units") or [purpose] if "unit" in unit]
    what = ", ".join(names) or "the unit"
    return f"Keep the signatures of {what}; change how the result is scaled; stay causal."


class _Filler:
    """Writes JSON that follows a schema, with existing paths and scores as approval demands."""

    def __init__(self, request: LLMRequest, rng: random.Random, approval: float) -> None:
        self._rng = rng
        self._schema = request.schema or {}
        self._paths = _paths(request.purpose)
        self._content = rng.random() < approval

    def value(self, schema: Mapping[str, Any], name: str = "") -> Any:
        """Return a value for `schema`, the field `name` of its object."""
        if "$ref" in schema:
            definition = schema["$ref"].rpartition("/")[2]
            return self.value(self._schema["$defs"][definition], name)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._rng.choice(list(schema["enum"]))
        if "anyOf" in schema:
            return self.value(schema["anyOf"][0], name)
        kind = schema.get("type")
        if kind == "object":
            fields = schema.get("properties", {})
            return {key: self.value(field, key) for key, field in fields.items()}
        if kind == "array":
            return self._array(schema, name)
        if kind in ("integer", "number"):
            return self._number(schema)
        if kind == "boolean":
            return self._content
        return self._text(name, int(schema.get("maxLength", 200)))

    def _array(self, schema: Mapping[str, Any], name: str) -> list[Any]:
        fewest, most = int(schema.get("minItems", 1)), int(schema.get("maxItems", 3))
        count = self._rng.randint(max(1, fewest), max(1, fewest, min(most, len(self._paths), 3)))
        self._rng.shuffle(self._paths)
        return [self.value(schema.get("items", {}), name) for _ in range(count)]

    def _number(self, schema: Mapping[str, Any]) -> int | float:
        """Return a number near the top of its range if content, else near the bottom."""
        low, high = float(schema.get("minimum", 0)), float(schema.get("maximum", 5))
        share = self._rng.uniform(0.8, 1.0) if self._content else self._rng.uniform(0.0, 0.4)
        found = low + share * (high - low)
        return round(found) if schema.get("type") == "integer" else round(found, 2)

    def _text(self, name: str, longest: int) -> str:
        if "path" in name or name == "unit":
            self._paths = [*self._paths[1:], *self._paths[:1]]
            return self._paths[-1]
        words = self._rng.choice(("a learned gain", "a kept share of the input", "another form"))
        return f"Give the unit {words}, so that training can balance it."[:longest]


def _paths(purpose: Mapping[str, Any]) -> list[str]:
    """Return the places that a request names, by default the root."""
    found = [str(path) for path in purpose.get("paths") or ()]
    found += [str(unit["path"]) for unit in purpose.get("units") or () if "path" in unit]
    found += [str(purpose["path"])] if "path" in purpose else []
    return found or ["root"]
