"""Extracting JSON and code from replies; fences, prose and small slips are tolerated.

A reply may hold several answers: a draft and the final one, the example of the prompt, what there
was before.  Reasoning between tags is no answer.  Of the rest every one is found, in order, with
whether it is given as an aside ("for comparison: ..."); whoever knows what was asked for decides
by content (`read_json` here, `operators.llm.reading` for code).
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import dedent
from typing import TYPE_CHECKING, Any, TypeVar

from genesys_engine.gab.errors import GenesysError
from genesys_engine.gab.syntax import UNREADABLE, parse

if TYPE_CHECKING:
    from genesys_engine.plugins.kinds import LLM, LLMRequest

EFFORT = 20_000_000
"""Characters that are read in the search for JSON, so that a hostile reply costs little."""
DEEP = 100_000
"""Characters that a value counts for which is nested too deeply to be read."""
COPIED = 50
"""Characters that are copied in the time in which one is read."""
CODE_LANGUAGES = ("", "py", "python", "python3", "pytorch", "torch")
JSON_LANGUAGES = ("", "json", "json5", "jsonc")
DIFFS = ("diff", "patch")

_REASONING = r"think|thinking|thoughts?|reason|reasoning|reflection|analysis|scratchpad"
_OPENED = rf"^[ \t]*(?:<(?:{_REASONING})>|\[THINK\]|<\|begin_of_thought\|>|\u25c1think\u25b7)"
_CLOSED = rf"(?:</(?:{_REASONING})>|\[/THINK\]|<\|end_of_thought\|>|\u25c1/think\u25b7)"
_THOUGHT = re.compile(rf"{_OPENED}.*?(?:{_CLOSED}|\Z)", re.M | re.S | re.I)
_THOUGHT_ENDS = re.compile(_CLOSED, re.I)
_CHANNEL, _FINAL = "<|channel|>", "<|channel|>final"
_FENCE = re.compile(r"\s*(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[\w+.-]*)[^`]*\Z")
_TRAILING_COMMA = re.compile(r",(?=\s*[}\]])")
_CODE = re.compile(r"^(?:import |from \w[\w.]* import |class \w+|def \w+|@)", re.M)
_ASIDE = re.compile(
    r"\b(?:for (?:comparison|reference|instance)|example|e\.g|previous(?:ly)?|earlier|old|original"
    r"(?:ly)?|initial(?:ly)?|draft|first (?:try|attempt|version)|you had|it was|before)\b",
    re.I,
)
_ANSWER = re.compile(
    r"\b(?:final(?:ly)?|new|now|chang(?:e|ed|es)|correct(?:ed|ion)?|revis(?:ed|ion)|updat(?:e|ed)"
    r"|improv(?:ed|ement)|instead)\b",
    re.I,
)
_FINAL_VERSION = re.compile(
    r"^[ \t#*_>-]*(?:(?:my|the|here is the) )?(?:final|revised|corrected|improved|updated)"
    r" (?:plan|answer|version)[*_ ]*(?::[*_ ]*|$)",
    re.M | re.I,
)
_START = re.compile(r"""\{(?=\s*["}])|\[(?=\s*[\]\[{"\d\-tfn])""")
_MISSING = object()
T = TypeVar("T")


class BadReply(GenesysError):
    """A reply that does not fit the request; the message describes the fault."""


@dataclass(frozen=True)
class Answer:
    """One answer of a reply: text of a block of code, or a JSON value.

    `aside` says that the words before it announce something else than the answer.
    """

    value: Any
    aside: bool = False


def spoken(text: str) -> str:
    """Return a reply without its reasoning, all of it if there are no tags.

    A reply that ends within its reasoning is empty.
    """
    last = 0
    if _CHANNEL in text:  # the form of gpt-oss, where a server doesn't take it apart
        final = text.rpartition(_FINAL)[2] if _FINAL in text else ""
        reply_text = final.partition("<|message|>")[2]
        return re.split(r"<\|(?:return|end|call)\|>", reply_text, maxsplit=1)[0]
    text = _THOUGHT.sub("", text)
    for end in _THOUGHT_ENDS.finditer(text):  # the tag that opens it may stand in the prompt
        last = end.end()
    return text[last:]


def plain_answer(text: str) -> str:
    """Return the text of a reply, from the heading of a final version if there is one."""
    reply_text = spoken(text).strip()
    rests = [reply_text[heading.end() :].strip() for heading in _FINAL_VERSION.finditer(reply_text)]
    return next((rest for rest in reversed(rests) if rest), reply_text)


def json_answers(text: str) -> list[Answer]:
    """Return the JSON objects and arrays of a reply in order, outermost ones only.

    Trailing commas and line breaks in strings are forgiven; NaN and infinity are not.
    """
    reply_text = spoken(text)
    for whole in (text, reply_text):  # the tags of reasoning may stand in a string
        value = _decode(whole.strip())
        if value is not _MISSING:
            return [Answer(value)]
    found: list[Answer] = []
    before = ""
    for language, body in _segments(reply_text):
        value = _decode(body.strip()) if language in JSON_LANGUAGES else _MISSING
        if value is not _MISSING:
            found.append(Answer(value, _is_aside(before)))
            before = ""
        else:
            found += _objects(body, before)
            before = body if language is None else ""
    return found


def extract_json(text: str) -> Any:
    """Return the JSON value of a reply: the last object, or else the last array.

    Callers that know the form of the value use `parse_json_reply`.

    Raises:
        BadReply: there is none.
    """
    answers = json_answers(text)
    if not answers:
        raise BadReply(f"there is no JSON in the reply, which begins {text.strip()[:80]!r}")
    return max(
        enumerate(answers),
        key=lambda pair: (isinstance(pair[1].value, dict), not pair[1].aside, pair[0]),
    )[1].value


def read_json(text: str, read: Callable[[Any], T], asked: Sequence[str] = ()) -> T:
    """Return the result of `read` on the last value of a reply that it accepts.

    An aside, and what merely repeats words of a prompt, counts only where nothing else does.

    Args:
        read: raises `BadReply` for a value that does not fit the request.
        asked: the texts of the prompt, whose examples a model may repeat.

    Raises:
        BadReply: there is no JSON, or none that is accepted; the fault is that of the last one.
    """
    answers = json_answers(text)
    prompt = "\n".join(asked)
    order = sorted(
        range(len(answers)),
        key=lambda at: (_is_quoted(answers[at].value, prompt), answers[at].aside, -at),
    )
    fault: BadReply | None = None
    for at in order:
        try:
            return read(answers[at].value)
        except BadReply as error:
            fault = fault or error
    raise fault or BadReply(f"there is no JSON in the reply, which begins {text.strip()[:80]!r}")


def parse_json_reply(text: str, schema: Mapping[str, Any], asked: Sequence[str] = ()) -> Any:
    """Return the JSON value of a reply that follows `schema`; see `read_json`.

    Raises:
        BadReply: there is none, or it breaks the schema; the message names the place.
    """
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(schema)

    def followed(value: Any) -> Any:
        fault = next(iter(validator.iter_errors(value)), None)
        if fault is not None:
            place = "".join(f"[{part!r}]" for part in fault.absolute_path) or "the whole value"
            raise BadReply(f"the JSON breaks its schema at {place}: {fault.message[:300]}")
        return value

    return read_json(text, followed, asked)


def ask_json(llm: LLM, role: str, request: LLMRequest) -> Any:
    """Ask for JSON that follows `request.schema`; an invalid reply is returned once for correction.

    Raises:
        BadReply: the second reply is invalid too.
        BudgetSpent, LLMRefused: as `LLM.ask`.
    """
    assert request.schema is not None, "JSON is asked for by its schema"
    asked = prompt_of(request)
    reply = llm.ask(role, request)
    try:
        return parse_json_reply(reply.text, request.schema, asked)
    except BadReply as error:
        again = llm.ask(role, repair_request(request, reply.text, str(error)))
        return parse_json_reply(again.text, request.schema, asked)


def prompt_of(request: LLMRequest) -> list[str]:
    """Return the texts that a model was given, without its own earlier replies."""
    return [text for role, text in request.messages if role != "assistant"]


def repair_request(request: LLMRequest, reply: str, fault: str) -> LLMRequest:
    """Return the request that shows a model its faulty reply and asks for it again."""
    schema = json.dumps(request.schema, sort_keys=True)
    asked = (
        f"That reply cannot be used: {fault}\n"
        f"Answer again with one JSON value and nothing else. Its JSON Schema:\n{schema}"
    )
    reply_text = spoken(reply).strip()[:4000] or "(nothing)"
    return replace(
        request, messages=(*request.messages, ("assistant", reply_text), ("user", asked))
    )


def extract_code_blocks(text: str) -> list[str]:
    """Return the Python of a reply, block by block, each ending in a line break.

    A last block whose fence is missing (a reply that was cut) runs to the end.  Without any
    fence the whole reply counts where it begins like code; prose gives [].
    """
    return [answer.value for answer in code_answers(text)]


def code_answers(text: str) -> list[Answer]:
    """Return the blocks of `extract_code_blocks`, each with whether it is an aside.

    A diff counts as what it leads to, where that is a whole definition.
    """
    reply_text, found, before = spoken(text), list[Answer](), ""
    for language, body in _segments(reply_text):
        if language is None:
            before = body
            continue
        code = _new_side(body) if language in DIFFS or _is_diff(body) else body
        if code.strip() and (language in CODE_LANGUAGES or language in DIFFS):
            found.append(Answer(dedent(code).strip("\n") + "\n", _is_aside(before)))
        before = ""
    if not found and "```" not in reply_text and (start := _CODE.search(reply_text)) is not None:
        found = [Answer(reply_text[start.start() :].strip("\n") + "\n")]
    return found


def _is_diff(body: str) -> bool:
    lines = [line for line in body.splitlines() if line.strip()]
    signs = {line[0] for line in lines}
    return signs <= set("+-@ ") and bool(signs & set("+-")) and bool(signs - {" "} - {"-"})


def _new_side(body: str) -> str:
    """Return the text that a diff leads to, "" where it shows no whole definition."""
    heads = ("---", "+++", "@@", "diff ", "index ")
    kept = [line for line in body.splitlines() if not line.startswith((*heads, "-"))]
    code = "\n".join(line[1:] if line[:1] in "+ " else line for line in kept)
    try:
        definitions = ast.ClassDef | ast.FunctionDef
        whole = any(isinstance(node, definitions) for node in parse(code).body)
    except UNREADABLE:
        return ""
    return code if whole else ""


def _segments(text: str) -> Iterator[tuple[str | None, str]]:
    """Yield (language, text) of every fenced block and (None, text) of the prose around them.

    Inner fences must be shorter.
    """
    fence, language, body = "", "", list[str]()
    for line in text.splitlines():
        found = _FENCE.match(line)
        closing = line.strip()
        if not fence and found is not None:
            yield None, "\n".join(body)
            fence, language, body = found["fence"], found["language"].lower(), []
        elif fence and closing.startswith(fence) and not closing.strip(fence[0]):
            yield language, "\n".join(body)
            fence, body = "", []
        else:
            body.append(line)
    yield (language if fence else None), "\n".join(body)


def _is_aside(before: str) -> bool:
    """Tell whether the last line of the prose before an answer announces another thing."""
    line = before.strip().rpartition("\n")[2]
    return bool(_ASIDE.search(line)) and not _ANSWER.search(line)


def _is_quoted(value: Any, prompt: str) -> bool:
    """Tell whether all words of a value stand in the prompt, as they do in its example."""
    texts = list(_texts(value))
    return bool(texts) and all(json.dumps(text, ensure_ascii=False) in prompt for text in texts)


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of a JSON value but its keys."""
    if isinstance(value, str) and value:
        yield value
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def _objects(text: str, before: str) -> Iterator[Answer]:
    """Yield the JSON objects and arrays in prose that follows `before`."""
    decoder = json.JSONDecoder(strict=False, parse_constant=_refuse_constant)
    place, end, effort = 0, 0, 0
    while effort < EFFORT and (start := _START.search(text, place)) is not None:
        at, place = start.start(), start.end()
        rest = text[at:]  # an error counts the lines up to its place
        effort += COPIED + len(rest) // COPIED
        try:
            value, length = decoder.raw_decode(rest)
        except json.JSONDecodeError as error:
            unended = error.msg.startswith("Unterminated")  # its place is where the string begins
            effort += len(rest) if unended else error.pos
            continue
        except (ValueError, RecursionError):
            effort += DEEP
            continue
        effort += length
        yield Answer(value, _is_aside(text[end:at] if text[end:at].strip() else before))
        before, place, end = "", at + length, at + length


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
