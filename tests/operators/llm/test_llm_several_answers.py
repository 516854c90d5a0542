"""Several answers in one reply: what is in them decides which one counts, before their place."""

from __future__ import annotations

import difflib
import json

import pytest
from designer_support import MLP, Scripted, context, fenced, gpt, proposal

from genesys_engine.gab import library
from genesys_engine.operators.llm.block import Entry, read_block
from genesys_engine.operators.llm.desk import Desk
from genesys_engine.operators.llm.implementers import implementer
from genesys_engine.operators.llm.options import ImplementerOptions
from genesys_engine.operators.llm.placing import find
from genesys_engine.operators.llm.ratings import Rating
from genesys_engine.operators.llm.reading import read_unit
from genesys_engine.operators.llm.sources import compact
from genesys_engine.operators.llm.templates import Templates
from genesys_engine.plugins.api import LLMReply
from genesys_engine.plugins.llm.replies import plain_answer, spoken

SWIGLU = library.unit("swiglu_mlp")
OLD = compact(SWIGLU)
NEW = OLD.replace("F.silu(gate) * up", "F.relu(gate).square() * up")
DRAFT = OLD.replace("F.silu(gate) * up", "F.gelu(gate) * up")
CLASS = NEW[NEW.index("class ") :]
HEAD = NEW[: NEW.index("class ")]
BROKEN = NEW.replace("def forward(self, X, **Z):", "def forward(self X, **Z):")
USAGE = (
    "import torch\nhidden = 64\nmlp = SwiGLUMLP(hidden, ())\nprint(mlp(torch.zeros(1, 4, 64)))\n"
)
HELPED = CLASS.replace("F.relu(gate).square() * up", "squared(gate) * up")
HELPER = "def squared(x):\n    return F.relu(x).square()\n"
DEMO = (
    "class Demo(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    "        self.mlp = SwiGLUMLP(64, ())\n    def forward(self, X, **Z):\n"
    "        return self.mlp(X, **Z)\n"
)
RENAMED = NEW.replace("class SwiGLUMLP(", "class SquaredMLP(")


def block(source: str, language: str = "python") -> str:
    return f"```{language}\n{source.rstrip()}\n```\n"


def diff(old: str, new: str) -> str:

    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), "a.py", "b.py", lineterm="", n=99
    )
    return "\n".join(lines) + "\n"


REPLIES = {
    "new, then old for comparison": block(NEW) + "\nFor comparison, what you had:\n\n" + block(OLD),
    "old quoted first": "You have:\n" + block(OLD) + "Changed:\n" + block(NEW),
    "new, then old without a word": block(NEW) + block(OLD),
    "both in one block": block(NEW + "\n\n" + OLD[OLD.index("class ") :]),
    "old under another name in the block": block(
        NEW + "\n\n" + OLD[OLD.index("class ") :].replace("class SwiGLUMLP(", "class OldMLP(")
    ),
    "a usage example behind it": block(NEW) + "Usage:\n" + block(USAGE),
    "a demonstration behind it": block(NEW) + "Usage example:\n" + block(DEMO),
    "a draft first": "A first draft:\n" + block(DRAFT) + "Better:\n" + block(NEW),
    "a draft in the reasoning": f"<think>\nTry {block(DRAFT)}</think>\n{block(NEW)}",
    "a draft in reasoning that the prompt opened": f"Hm. {block(DRAFT)}\n</think>\n\n{block(NEW)}",
    "reasoning behind the answer": f"{block(NEW)}\n<think>\nor rather {block(DRAFT)}\n</think>",
    "imports by themselves": block(HEAD) + "and\n" + block(CLASS),
    "a helper by itself": block("import torch.nn.functional as F\n" + HELPER) + block(HELPED),
    "a helper behind it": block(HELPED) + "with\n" + block(HELPER),
    "a diff behind it": block(NEW) + "The change:\n" + block(diff(OLD, NEW), "diff"),
    "a whole diff alone": block(diff(OLD, NEW), "diff"),
    "a whole diff as Python": block(diff(OLD, NEW)),
    "a broken version behind it": block(NEW) + "Alternatively:\n" + block(BROKEN),
    "the old one and a new name": block(OLD) + "Mine:\n" + block(RENAMED),
    "a shell command behind it": block(NEW) + block("python mlp.py", "bash"),
    "an aside that is not quite what there was": block(NEW)
    + "For comparison, the previous version:\n"
    + block(OLD.replace("hidden", "width")),
}  # fmt: skip


@pytest.mark.parametrize("text", REPLIES.values(), ids=REPLIES)
def test_the_right_version_of_a_unit_counts(text: str) -> None:
    reading = read_unit(LLMReply(text), SWIGLU)
    assert reading.unit is not None, (reading.code, reading.message)
    assert "relu" in reading.unit.source
    assert "F.gelu" not in reading.unit.source
    assert reading.unit.digest != SWIGLU.digest


@pytest.mark.parametrize("text", REPLIES.values(), ids=REPLIES)
def test_the_right_version_counts_in_a_whole_block(text: str) -> None:
    if "SquaredMLP" in text or "OldMLP" in text:
        pytest.skip("a whole block is told apart by names")
    tree = library.seed("gpt")
    (place,) = [p for p in tree.places() if p.path == "root.mlp"]
    entry = Entry("SwiGLUMLP", place.node.unit, ("root.mlp",), "Square it.")
    reading = read_block(LLMReply(text), tree, [entry])
    assert reading.tree is not None, (reading.code, reading.message)
    assert "relu" in find(reading.tree, "root.mlp").node.unit.source


def test_a_new_version_with_a_fault_is_what_is_said_of_it() -> None:
    for text in (block(BROKEN) + block(OLD), block(OLD) + block(BROKEN)):
        assert read_unit(LLMReply(text), SWIGLU).code == "contract.syntax"


def test_a_reply_of_the_old_unit_alone_is_unchanged() -> None:
    reading = read_unit(LLMReply(block(OLD) + "Usage:\n" + block(DEMO)), SWIGLU)
    assert reading.unit is not None
    assert reading.unit.digest == SWIGLU.digest


def test_the_last_try_that_is_quoted_does_not_count() -> None:
    text = block(NEW) + "instead of what failed:\n" + block(DRAFT)
    former = read_unit(LLMReply(block(DRAFT)), SWIGLU).source
    assert "gelu" in read_unit(LLMReply(text), SWIGLU).unit.source
    assert "relu" in read_unit(LLMReply(text), SWIGLU, [former]).unit.source


def test_a_value_of_a_usage_example_is_no_part_of_the_unit() -> None:
    text = block(NEW.replace("16 * max", "hidden * max")) + "Usage:\n" + block(USAGE)
    assert "hidden = 64" not in read_unit(LLMReply(text), SWIGLU).source


def test_a_reply_that_ends_in_its_reasoning_holds_no_answer() -> None:
    reading = read_unit(LLMReply(f"<think>\nI might write {block(DRAFT)}"), SWIGLU)
    assert (reading.unit, reading.code) == (None, "reply.cut")


def test_long_reasoning_does_not_make_a_reply_too_long() -> None:
    text = f"<think>\n{'Let me see. ' * 10_000}\n</think>\n{block(NEW)}"
    assert read_unit(LLMReply(text), SWIGLU).unit is not None


def test_old_code_last_is_a_design_all_the_same(real_check) -> None:
    text = fenced(MLP) + "\nFor comparison, what you had:\n\n" + block(SWIGLU.source)
    llm = Scripted(coder=[text])
    made = implementer("gp", ImplementerOptions(observer=False, tries=1, rounds=1)).implement(
        proposal("root.mlp"), [gpt()], context(llm, real_check)
    )
    assert made.failure == ""
    assert "relu" in find(made.tree, "root.mlp").node.unit.source


# --- ratings, proposals, plans ------------------------------------------------------------------

BAD, GOOD = {"reason": "too vague to build", "score": 1}, {"reason": "worth a test", "score": 4}
EXAMPLE = {"reason": "one or two sentences", "score": 5}
WRONG = {"reason": "great", "score": 9}


def said(value: object) -> str:
    return json.dumps(value)


RATINGS = {
    "alone": said(GOOD),
    "a draft and the final one": f"Draft: {said(BAD)}\nOn second thought:\n{said(GOOD)}",
    "two blocks": f"```json\n{said(BAD)}\n```\nFinal:\n```json\n{said(GOOD)}\n```",
    "two values in one block": f"```json\n{said(BAD)}\n{said(GOOD)}\n```",
    "one behind the block": f"```json\n{said(BAD)}\n```\nNo, I correct that: {said(GOOD)}",
    "the longest is the draft": f"{said(BAD | {'reason': 'x' * 300})} then {said(GOOD)}",
    "the example of the prompt first": f"Format: {said(EXAMPLE)}\n{said(GOOD)}",
    "the example of the prompt last": f"{said(GOOD)}\nas in {said(EXAMPLE)}",
    "what breaks the schema last": f"{said(GOOD)}\nI was tempted to say {said(WRONG)}",
    "the schema first": f"{said(Rating.model_json_schema())}\n{said(GOOD)}",
    "the schema last": f"{said(GOOD)}\n```json\n{said(Rating.model_json_schema())}\n```",
    "a draft in the reasoning": f"<think>{said(BAD)}</think>{said(GOOD)}",
    "reasoning behind it": f"{said(GOOD)}\n<think>\nor {said(BAD)}\n</think>",
    "an aside last": f"{said(GOOD)}\nFor comparison, the previous rating: {said(BAD)}",
    "many braces before": "\\{ {x} [i, j] " * 500 + said(GOOD),
    "lists and links around": f"See [1] and [2]. {said(GOOD)} as in [3].",
    "channels": f"<|channel|>analysis<|message|>{said(BAD)}<|end|>"
    f"<|channel|>final<|message|>{said(GOOD)}<|return|>",
}  # fmt: skip


@pytest.mark.parametrize("text", RATINGS.values(), ids=RATINGS)
def test_the_right_rating_counts(text: str) -> None:
    llm = Scripted(reviewer=[text])
    options = ImplementerOptions()
    desk = Desk(context(llm, None), Templates(options), options)
    fields = {
        "proposal": proposal("root.mlp").to_json(),
        "taken": {},
        "parent": {"tree": "root"},
        "passages": [],
        "tried": [],
    }
    rating = desk.ask_json(
        "reviewer", "reviewer", fields, Rating, tokens=100, temperature=0.0, purpose={}
    )
    assert rating == Rating(**GOOD)
    assert len(llm.asked["reviewer"]) == 1


def test_a_plan_is_what_follows_the_reasoning_and_the_draft() -> None:
    assert plain_answer("<think>\nlong\n</think>\n1. square it") == "1. square it"
    assert plain_answer("Draft plan:\n1. gelu\n\n**Final plan:**\n1. square it") == "1. square it"
    assert (
        plain_answer("The final plan is clear: square it") == "The final plan is clear: square it"
    )
    assert spoken("<think>\nnever ends") == ""


def test_the_planners_reasoning_is_not_shown_to_the_coder(real_check) -> None:
    llm = Scripted(
        planner=["<think>\nSECRET " + "x " * 2000 + "\n</think>\nSquare it."], coder=[fenced(MLP)]
    )
    made = implementer("gp", ImplementerOptions(observer=False, tries=1, rounds=1)).implement(
        proposal("root.mlp"), [gpt()], context(llm, real_check)
    )
    assert made.failure == ""
    (prompt,) = llm.prompts("coder")
    assert "Square it." in prompt
    assert "SECRET" not in prompt
