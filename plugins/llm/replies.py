"""JSON and code out of what a language model says: fences, prose and small slips are borne."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from textwrap import dedent
from typing import TYPE_CHECKING, Any

from genesys_engine.gab.errors import GenesysError

if TYPE_CHECKING:
    from genesys_engine.plugins.kinds import LLM, LLMRequest

STARTS = 200
"""Places of a reply at which JSON is looked for, so that a hostile one costs little."""
CODE_LANGUAGES = ("", "py", "python", "python3", "pytorch", "torch")

_FENCE = re.compile(r"\s*(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[\w+.-]*)[^`]*\Z")
_TRAILING_COMMA = re.compile(r",(?=\s*[}\]])")
_CODE = re.compile(r"^(?:import |from \w[\w.]* import |class \w+|def \w+|@)", re.M)
_MISSING = object()


class BadReply(GenesysError):
    """A reply that is not what was asked for; the message says what is wrong with it."""


def extract_json(text: str) -> Any:
    """Return the JSON value in a reply: all of it, a fenced block, or the longest in prose.

    Trailing commas and line breaks in strings are forgiven; NaN and infinity are not.

    Raises:
        BadReply: there is none.
    """
    for whole in (text.strip(), *_fenced(text, json_only=True)):
        value = _decode(whole)
        if value is not _MISSING:
            return value
    found = max(_objects(text), key=lambda pair: pair[0], default=None)
    if found is None:
        raise BadReply(f"there is no JSON in the reply, which begins {text.strip()[:80]!r}")
    return found[1]


def parse_json_reply(text: str, schema: Mapping[str, Any]) -> Any:
    """Return the JSON value in a reply, once it follows `schema`.

    Raises:
        BadReply: there is none, or it breaks the schema; the message names the place.
    """
    from jsonschema import Draft202012Validator

    value = extract_json(text)
    fault = next(iter(Draft202012Validator(schema).iter_errors(value)), None)
    if fault is not None:
        place = "".join(f"[{part!r}]" for part in fault.absolute_path) or "the whole value"
        raise BadReply(f"the JSON breaks its schema at {place}: {fault.message[:300]}")
    return value


def ask_json(llm: LLM, role: str, request: LLMRequest) -> Any:
    """Ask for JSON by `request.schema`; a reply that is not is sent back once, to be mended.

    Raises:
        BadReply: the second reply is no better.
        BudgetSpent, LLMRefused: as `LLM.ask`.
    """
    assert request.schema is not None, "JSON is asked for by its schema"
    reply = llm.ask(role, request)
    try:
        return parse_json_reply(reply.text, request.schema)
    except BadReply as error:
        mended = llm.ask(role, repair_request(request, reply.text, str(error)))
        return parse_json_reply(mended.text, request.schema)


def repair_request(request: LLMRequest, reply: str, fault: str) -> LLMRequest:
    """Return the request that shows a model its faulty reply and asks for it again."""
    schema = json.dumps(request.schema, sort_keys=True)
    asked = (
        f"That reply cannot be used: {fault}\n"
        f"Answer again with one JSON value and nothing else. Its JSON Schema:\n{schema}"
    )
    said = reply.strip()[:4000] or "(nothing)"
    return replace(request, messages=(*request.messages, ("assistant", said), ("user", asked)))


def extract_code_blocks(text: str) -> list[str]:
    """Return the Python of a reply, block by block, each ending in a line break.

    A last block whose fence is missing (a reply that was cut) runs to the end.  Without any
    fence the whole reply counts where it begins like code; prose gives [].
    """
    blocks = _fenced(text)
    if not blocks and "```" not in text and (start := _CODE.search(text)) is not None:
        blocks = [text[start.start() :]]
    return [dedent(block).strip("\n") + "\n" for block in blocks if block.strip()]


def _fenced(text: str, *, json_only: bool = False) -> list[str]:
    """Return what stands in fences: JSON's, or Python's and that without a language."""
    languages = ("", "json", "json5", "jsonc") if json_only else CODE_LANGUAGES
    return [body for language, body in _blocks(text) if language in languages]


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield (language, text) of every fenced block; inner fences must be shorter."""
    fence, language, body = "", "", list[str]()
    for line in text.splitlines():
        found = _FENCE.match(line)
        closing = line.strip()
        if not fence and found is not None:
            fence, language, body = found["fence"], found["language"].lower(), []
        elif fence and closing.startswith(fence) and not closing.strip(fence[0]):
            yield language, "\n".join(body)
            fence = ""
        elif fence:
            body.append(line)
    if fence:
        yield language, "\n".join(body)


def _objects(text: str) -> Iterator[tuple[int, Any]]:
    """Yield (length, value) of the JSON objects and arrays in prose."""
    decoder = json.JSONDecoder(strict=False, parse_constant=_refuse_constant)
    place = 0
    for _ in range(STARTS):
        start = re.compile(r"[{\[]").search(text, place)
        if start is None:
            return
        place = start.end()
        try:
            value, end = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            continue
        yield end - start.start(), value
        place = end


def _decode(text: str) -> Any:
    """Return the object or array that `text` is, else `_MISSING`."""
    if not text.strip().startswith(("{", "[")):
        return _MISSING
    for tried in (text, _TRAILING_COMMA.sub("", text)):
        try:
            return json.loads(tried, strict=False, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            continue
    return _MISSING


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
