from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from genesys_engine.plugins.api import LLMReply, LLMRequest
from genesys_engine.plugins.llm.replies import (
    BadReply,
    ask_json,
    extract_code_blocks,
    extract_json,
    parse_json_reply,
)

SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "number", "minimum": 0, "maximum": 5}},
    "required": ["score"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"score": 3}', {"score": 3}),
        ("  \n[1, 2]\n", [1, 2]),
        ('Sure! Here it is:\n```json\n{"score": 4}\n```\nHope it helps.', {"score": 4}),
        ('```\n{"score": 4,}\n```', {"score": 4}),
        ('I think {x} is fine, so {"score": 2, "why": "a [b] {c}"} is my answer', None),
        ('~~~json\n{"a": "two\nlines"}\n~~~', {"a": "two\nlines"}),
        ('```json\n{"score": 1}', {"score": 1}),
    ],
)
def test_json_is_found(text: str, value: object) -> None:
    expected = {"score": 2, "why": "a [b] {c}"} if value is None else value
    assert extract_json(text) == expected


@pytest.mark.parametrize(
    "text", ["", "no json here", '{"score": ', "{" * 100_000, '{"score": NaN}', "Je ne sais pas."]
)
def test_a_reply_without_json_is_reported(text: str) -> None:
    with pytest.raises(BadReply, match="no JSON"):
        extract_json(text)


def test_the_schema_is_held_to() -> None:
    assert parse_json_reply('{"score": 5}', SCHEMA) == {"score": 5}
    with pytest.raises(BadReply, match=r"\['score'\].*maximum"):
        parse_json_reply('{"score": 7}', SCHEMA)
    with pytest.raises(BadReply, match="'score' is a required property"):
        parse_json_reply("{}", SCHEMA)


def test_code_blocks_are_found() -> None:
    text = "Two units:\n```python\nclass A:\n    pass\n```\nand\n``` py\nclass B: ...\n```\n"
    assert extract_code_blocks(text) == ["class A:\n    pass\n", "class B: ...\n"]


def test_other_languages_are_left_out() -> None:
    assert extract_code_blocks("```bash\npip install x\n```\n```\nx = 1\n```") == ["x = 1\n"]
    assert extract_code_blocks("```json\n{}\n```") == []


def test_an_indented_block_is_dedented() -> None:
    assert extract_code_blocks("1. this:\n   ```python\n   x = 1\n   ```") == ["x = 1\n"]


def test_a_cut_reply_gives_what_there_is() -> None:
    assert extract_code_blocks("```python\nclass A:\n    def f(self") == [
        "class A:\n    def f(self\n"
    ]


def test_code_without_fences_is_taken_and_prose_is_not() -> None:
    assert extract_code_blocks("import torch\n\nclass A: ...") == ["import torch\n\nclass A: ...\n"]
    assert extract_code_blocks("I cannot do that.") == []
    assert extract_code_blocks("Ich denke, die Klasse sollte anders sein.") == []


@dataclass
class Scripted:
    """Gives these replies in turn, and keeps what it was asked."""

    replies: list[str]
    asked: list[LLMRequest] = field(default_factory=list)

    def ask(self, role: str, request: LLMRequest) -> LLMReply:
        self.asked.append(request)
        return LLMReply(self.replies[len(self.asked) - 1])

    def usage(self) -> dict:
        return {}


def test_a_bad_reply_is_fixed_once() -> None:
    request = LLMRequest((("user", "Score it."),), schema=SCHEMA)
    llm = Scripted(["five", '{"score": 5}'])
    assert ask_json(llm, "reviewer", request) == {"score": 5}
    said = llm.asked[1].messages
    assert said[:2] == (("user", "Score it."), ("assistant", "five"))
    assert "no JSON" in said[2][1]
    llm = Scripted(["five", "still five", '{"score": 5}'])
    with pytest.raises(BadReply):
        ask_json(llm, "reviewer", request)
    assert len(llm.asked) == 2
