"""Edits instead of whole units: the strict form, what applies, the way back to the whole unit."""

import pytest
from chat_server import ChatServer, says
from designer_support import MLP, context, fenced, gpt, proposal
from llm_support import Bench

from genesys_engine.operators.llm.edits import (
    EditCut,
    EditFault,
    apply_edits,
    has_edits,
    read_edits,
)
from genesys_engine.operators.llm.implementers import implementer
from genesys_engine.operators.llm.options import ImplementerOptions
from genesys_engine.operators.llm.placing import find
from genesys_engine.plugins.llm.litellm import LiteLLMOptions

SOURCE = "a = 1\nb = 2\n\n    c = 3\nb = 2\nd = 4\n"


def edit(old, new, middle="=======", end=">>>>>>> REPLACE"):
    return "\n".join(["<<<<<<< SEARCH", old, middle, new, end])


def edited(*edits, source=SOURCE):
    return apply_edits(read_edits("Here:\n```\n" + "\n".join(edits) + "\n```"), source)


@pytest.mark.parametrize(
    ("edits", "made"),
    [
        ([edit("a = 1", "a = 5\na += 1")], "a = 5\na += 1\nb = 2\n\n    c = 3\nb = 2\nd = 4\n"),
        ([edit("d = 4", ""), edit("a = 1", "a = 0")], "a = 0\nb = 2\n\n    c = 3\nb = 2\n"),
        ([edit("b = 2\nd = 4", "d = 4")], "a = 1\nb = 2\n\n    c = 3\nd = 4\n"),
        ([edit("a = 1  ", "a = 1")], SOURCE),
        (
            [edit("a = 1", "b = 9"), edit("    c = 3", "    c = 9")],
            "b = 9\nb = 2\n\n    c = 9\nb = 2\nd = 4\n",
        ),
    ],
)
def test_edits_are_made(edits, made):
    assert edited(*edits) == made


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ([edit("b = 2", "b = 3")], "2 times"),
        ([edit("c = 3", "c = 4")], "`    c = 3`"),
        ([edit("a = 1", "x"), edit("aa = 1", "y")], "Edit 2"),
        ([edit("a = 1\nb = 2", "x"), edit("a = 1", "y")], "make them one"),
        ([edit("", "x")], "searches for nothing"),
        ([edit("a = 1", "x", middle="----")], "`=======`"),
        ([edit("a = 1", "x", end=""), edit("d = 4", "y")], "REPLACE"),
    ],
)
def test_an_edit_that_cannot_be_made_is_named(edits, words):
    with pytest.raises(EditFault) as caught:
        edited(*edits)
    assert words in str(caught.value)


def test_a_reply_that_ends_within_an_edit_was_cut():
    with pytest.raises(EditCut):
        read_edits(edit("a = 1", "x", end=""))
    assert not has_edits("x << 3\n=======\n")


def design(bench, check, *replies):
    """Have one unit of GPT changed by a model behind a server; return the coder's prompts too."""
    with ChatServer(*map(says, replies)) as server:
        read = LiteLLMOptions(model="openai/tiny", api_base=server.url, json_schema=False)
        client = bench.gateway("litellm", read.model_dump(mode="json")).client("design/1")
        options = ImplementerOptions(edits=True, planner=False, observer=False)
        made = implementer("gp", options).implement(
            proposal("root.mlp"), [gpt()], context(client, check), token_cap=None
        )
        prompts = [body["messages"][-1]["content"] for body in server.asked]
    return made, prompts, [entry["outcome"] for entry in made.trace if entry["role"] == "coder"]


LINE = "        return self.down(F.silu(gate) * up), Z"
WRONG = LINE.replace("F.silu(gate)", "F.silu(gate[..., 1:])")
RIGHT = LINE.replace("F.silu(gate)", "F.relu(gate).square()")


def test_a_unit_is_changed_by_edits_first_of_itself_then_of_the_last_try(bench: Bench, real_check):
    made, prompts, outcomes = design(bench, real_check, edit(LINE, WRONG), edit(WRONG, RIGHT))
    assert outcomes == ["forward.error", "passed"]
    assert RIGHT in find(made.tree, "root.mlp").node.unit.source
    assert ["<<<<<<< SEARCH" in prompt for prompt in prompts] == [True, True]
    assert WRONG.strip() in prompts[1]


def test_after_edits_that_cannot_be_made_the_whole_unit_is_asked_for(bench: Bench, real_check):
    typo = LINE.replace("silu(gate)", "silu(gates)")
    made, prompts, outcomes = design(bench, real_check, edit(typo, RIGHT), fenced(MLP))
    assert outcomes == ["reply.edit", "passed"]
    assert made.failure == ""
    assert "<<<<<<< SEARCH" not in prompts[1]
    assert LINE.strip() in prompts[1].partition("Your last try failed")[2], "the nearest line"
