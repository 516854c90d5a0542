"""A coder that writes a new unit is offered child slots of its own; one that changes a unit not."""

import json
from dataclasses import replace

import pytest
from designer_support import MIXER, MLP, NORM, Scripted, context, fenced, gpt, proposal

from genesys_engine.gab import library
from genesys_engine.operators.llm.implementers import implementer
from genesys_engine.operators.llm.options import ImplementerOptions
from genesys_engine.operators.llm.placing import find
from genesys_engine.operators.llm.scratch import LLMScratch, LLMScratchOptions

OFFER = "You may leave a part of the work to a new child"
AFRESH = replace(gpt(), design=-1)
DECLARING = """
class PreNormBlock(nn.Module):
    slots = {
        "norm_1": ("norm", "normalises what the sequence mixer reads"),
        "mixer": ("sequence_mixer", "moves information between positions, causally"),
        "norm_2": ("norm", "normalises what the channel mixer reads"),
        "mlp": ("channel_mixer", "transforms every position"),
        "close": ("norm", "scales to the root mean square of the output"),
    }

    def __init__(
        self, d_model, block_loc, *, norm_1, mixer, norm_2, mlp, close, device=None, dtype=None
    ):
        super().__init__()
        self.norm_1 = norm_1(d_model)
        self.mixer = mixer(d_model)
        self.norm_2 = norm_2(d_model)
        self.mlp = mlp(d_model)
        self.close = close(d_model)

    def forward(self, X, **Z):
        normed, Z = self.norm_1(X, **Z)
        mixed, Z = self.mixer(normed, **Z)
        X = X + mixed
        normed, Z = self.norm_2(X, **Z)
        mixed, Z = self.mlp(normed, **Z)
        mixed, Z = self.close(mixed, **Z)
        return X + mixed, Z
"""
"""What the rule asks for, and nothing else of the file: a root with one child more."""


def declares_where_offered(request):
    """Answer as a coder that does what it is offered."""
    return fenced(DECLARING) if OFFER in request.messages[-1][1] else "I was offered no slot."


def gp(llm, check, *paths, parent=AFRESH, **options):
    made = implementer("gp", ImplementerOptions(**options))
    return made.implement(proposal(*paths), [parent], context(llm, check))


def unit_at(tree, path):
    return find(tree, path).node.unit


def test_a_declared_slot_is_filled_from_the_library(real_check):
    llm = Scripted(coder=declares_where_offered)
    made = gp(llm, real_check, "root")
    assert made.failure == ""
    assert [slot.name for slot in unit_at(made.tree, "root").slots][-1] == "close"
    assert unit_at(made.tree, "root.close") == library.unit("rms_norm")
    assert unit_at(made.tree, "root.mixer") == library.unit("causal_attention"), "it is kept"


def test_a_declared_slot_is_written_next(real_check):
    llm = Scripted(coder=[declares_where_offered, fenced(NORM)])
    made = gp(llm, real_check, "root", parent=gpt(), new_slots="implement")
    written = [entry["path"] for entry in made.trace if entry["role"] == "coder"]
    assert written == ["root", "root.close"]
    assert "0.1" in unit_at(made.tree, "root.close").source
    assert OFFER not in llm.prompts("coder")[1], "a norm is not taken apart"


def test_a_design_from_scratch_declares_and_is_whole(real_check):
    sketch = json.dumps({"title": "Softer", "sketch": "Softmax attention, closed by a norm."})
    change = {"path": "root", "change": "Normalise what the channel mixer adds."}
    idea = json.dumps({"title": "Closed", "motivation": "Calm.", "changes": [change]})
    llm = Scripted(proposer=[sketch, idea], coder=declares_where_offered)
    child = LLMScratch(LLMScratchOptions())([], context(llm, real_check, seeds=("gpt",)))
    assert unit_at(child.tree, "root.close").interface == "norm"
    assert real_check(child.tree)["passed"]


@pytest.mark.parametrize(
    ("path", "reply", "parent", "options"),
    [
        ("root.mlp", MLP, gpt(), {}),
        ("root.mixer", MIXER, gpt(), {"new_slots": "library"}),
        ("root.norm_1", NORM, AFRESH, {"new_slots": "implement"}),
    ],
)
def test_what_is_changed_or_small_is_offered_none(real_check, path, reply, parent, options):
    llm = Scripted(coder=fenced(reply))
    gp(llm, real_check, path, parent=parent, tries=1, rounds=1, **options)
    assert OFFER not in llm.prompts("coder")[0]
    assert "but see the last rule" not in llm.prompts("coder")[0]


def test_the_offer_comes_as_the_last_rule(real_check):
    llm = Scripted(coder=fenced(MLP))
    gp(llm, real_check, "root.mlp")
    text = llm.prompts("coder")[0]
    assert f"6. {OFFER}" in text
    assert "leave them out, but see the last rule." in text
