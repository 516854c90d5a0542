"""Mutation, crossover and scratch: from an idea to a child, and what is refused on the way."""

import json
import random

import pytest
from designer_support import MIXER, MLP, Scripted, context, fenced, gpt

from genesys_engine.gab import library
from genesys_engine.operators.llm.crossover import LLMCrossover, LLMCrossoverOptions
from genesys_engine.operators.llm.mutation import LLMMutation, LLMMutationOptions
from genesys_engine.operators.llm.placing import find
from genesys_engine.operators.llm.scratch import LLMScratch, LLMScratchOptions, nearest_design
from genesys_engine.plugins.api import (
    DesignAbandoned,
    Document,
    OperatorContext,
    OperatorNotApplicable,
    Parent,
)

ROOT = library.unit("pre_norm_block").source.replace("return X + mixed", "return X + 0.5 * mixed")


def idea(*changes, title="Squared gate", **more):
    """Return a proposer's reply; a change is (path, change) or (path, "", path to take)."""
    listed = [dict(zip(("path", "change", "take"), change, strict=False)) for change in changes]
    return json.dumps({"title": title, "motivation": "It may help.", "changes": listed, **more})


SQUARED = idea(("root.mlp", "Replace SiLU by a squared ReLU."))


def retnet():
    return Parent(2, library.seed("retnet"), 1.0, "Seed design retnet.")


def mutate(llm, check, *, options=None, **services):
    operator = LLMMutation(LLMMutationOptions(**(options or {})))
    return operator([gpt()], context(llm, check, **services))


def unit_at(tree, path):
    return find(tree, path).node.unit


def test_a_mutation_from_idea_to_child(real_check):
    llm = Scripted(proposer=SQUARED, coder=fenced(MLP))
    child = mutate(llm, real_check)
    assert child.change == "Squared gate: root.mlp: Replace SiLU by a squared ReLU."
    assert "relu" in unit_at(child.tree, "root.mlp").source
    json.dumps(child.details)
    assert child.details["proposal"]["title"] == "Squared gate"
    assert child.details["review"] == {"reason": "worth a test", "score": 4}
    assert child.details["usage"]["coder"]["calls"] == 1
    roles = [entry["role"] for entry in child.details["trace"]]
    assert roles == ["proposer", "reviewer", "planner", "observer", "coder"]


def test_places_come_from_a_closed_list(real_check):
    llm = Scripted(proposer=SQUARED, coder=fenced(MLP))
    mutate(llm, real_check)
    schema = json.dumps(llm.asked["proposer"][0].schema)
    paths = [place.path for place in gpt().tree.places()]
    assert json.dumps(paths) in schema


def test_what_is_known_enters_the_prompts(real_check):
    card = Document("x", "Squared ReLU (Primer)", "So et al. found it to help.", "cards")
    services = {
        "search": lambda query, limit: [card],
        "tried": lambda query, limit: ["design 7 (0.31): Narrow heads.\n    gain -1.00 %"],
    }
    llm = Scripted(proposer=SQUARED, coder=fenced(MLP))
    mutate(llm, real_check, **services)
    for role in ("proposer", "reviewer"):
        text = llm.prompts(role)[0]
        assert "So et al. found it to help" in text
        assert "Narrow heads. gain -1.00 %" in " ".join(text.split())


def test_a_low_rating_goes_back_with_the_review(real_check):
    ratings = ['{"reason": "vague: which operation?", "score": 2}', '{"reason": "ok", "score": 4}']
    other = idea(("root.mlp", "Square the ReLU of the gate."), title="Clearer")
    llm = Scripted(proposer=[SQUARED, other], reviewer=ratings, coder=fenced(MLP))
    child = mutate(llm, real_check)
    assert child.details["proposal"]["title"] == "Clearer"
    assert "vague: which operation?" in llm.prompts("proposer")[1]


def test_an_idea_tried_before_costs_no_review_and_no_code(real_check):
    told = "Squared gate: root.mlp: Replace SiLU by a squared ReLU."
    llm = Scripted(proposer=SQUARED, coder=fenced(MLP))
    with pytest.raises(DesignAbandoned) as caught:
        mutate(
            llm,
            real_check,
            options={"proposal_tries": 2},
            tried=lambda query, limit: [f"design 3 (0.99): {told}\n    gain +0.10 %"],
        )
    assert caught.value.code == "proposal.same"
    assert set(llm.asked) == {"proposer"}
    assert f"tried before: {told}" in llm.prompts("proposer")[1]


def test_the_same_idea_at_another_place_is_another_idea(real_check):
    llm = Scripted(proposer=SQUARED, coder=fenced(MLP))
    tried = ["design 3 (0.9): Squared gate: root.mixer: Replace SiLU by a squared ReLU."]
    assert mutate(llm, real_check, tried=lambda query, limit: tried).tree is not None


def test_a_malformed_idea_is_sent_back_once(real_check):
    broken = '{"title": "Squared gate", "motivation": "", "changes": [{"path": "root.brain"}]}'
    llm = Scripted(proposer=[broken, SQUARED], coder=fenced(MLP))
    mutate(llm, real_check)
    second = llm.asked["proposer"][1]
    assert second.messages[-2] == ("assistant", broken)
    assert "JSON object alone" in second.messages[-1][1]
    assert "changes.0.path" in second.messages[-1][1]


def test_no_idea_at_all_abandons_the_design(real_check):
    llm = Scripted(proposer="Let us think about it.")
    with pytest.raises(DesignAbandoned) as caught:
        mutate(llm, real_check)
    assert caught.value.code == "proposal.malformed"
    assert len(llm.asked["proposer"]) == 4, "more tries would bring out nothing"
    assert "in 2 tries" in str(caught.value)


def test_what_can_be_read_between_ends_no_search(real_check):
    llm = Scripted(proposer=["Hm.", "Hm.", "{}", SQUARED], coder=fenced(MLP))
    assert mutate(llm, real_check).tree is not None


def test_a_failed_implementation_is_reported_with_what_was_tried(real_check):
    llm = Scripted(proposer=SQUARED, coder="no code")
    with pytest.raises(DesignAbandoned) as caught:
        mutate(llm, real_check, options={"tries": 1, "rounds": 1})
    assert caught.value.code == "reply.no_code"
    assert caught.value.details["proposal"]["title"] == "Squared gate"
    assert caught.value.details["usage"]["coder"]["calls"] == 1
    json.dumps(caught.value.details)


def test_changes_stand_in_the_order_of_the_tree(real_check):
    both = idea(("root.mlp", "Square it."), ("root.mixer", "Double it."))
    llm = Scripted(proposer=both, coder=[fenced(MIXER), fenced(MLP)])
    child = mutate(llm, real_check)
    paths = [change["path"] for change in child.details["proposal"]["changes"]]
    assert paths == ["root.mixer", "root.mlp"]


def test_a_unit_of_the_second_parent_comes_by_reference(real_check):
    reply = idea(("root.mixer", "", "root.mixer"), title="Retention for attention")
    llm = Scripted(proposer=reply)
    operator = LLMCrossover(LLMCrossoverOptions())
    child = operator([gpt(), retnet()], context(llm, real_check))
    assert unit_at(child.tree, "root.mixer") == library.unit("multi_scale_retention")
    assert unit_at(child.tree, "root.mixer.recurrence") == library.unit("scalar_decay_recurrence")
    assert unit_at(child.tree, "root.mlp") == library.unit("swiglu_mlp")
    assert "coder" not in llm.asked, "reuse costs no token"
    assert real_check(child.tree)["passed"]
    assert "taken from root.mixer of the second parent" in child.change


def test_crossover_rewrites_next_to_what_it_takes(real_check):
    reply = idea(("root.mixer", "", "root.mixer"), ("root.mlp", "Square it."))
    llm = Scripted(proposer=reply, coder=fenced(MLP))
    child = LLMCrossover(LLMCrossoverOptions())([gpt(), retnet()], context(llm, real_check))
    assert unit_at(child.tree, "root.mixer").name == "MultiScaleRetention"
    assert "relu" in unit_at(child.tree, "root.mlp").source
    assert "class GeluMLP" in llm.prompts("coder")[0], "the second parent's unit is shown"


def test_a_unit_of_another_interface_cannot_be_taken(real_check):
    wrong = idea(("root.mlp", "", "root.mixer"))
    right = idea(("root.mlp", "", "root.mlp"))
    llm = Scripted(proposer=[wrong, right])
    child = LLMCrossover(LLMCrossoverOptions())([gpt(), retnet()], context(llm, real_check))
    assert unit_at(child.tree, "root.mlp").name == "GeluMLP"
    assert (
        "root.mixer is a sequence_mixer and cannot stand at root.mlp" in llm.prompts("proposer")[1]
    )


def test_scratch_writes_a_root_over_the_nearest_design(real_check):
    sketch = json.dumps(
        {"title": "Softer attention", "sketch": "Causal softmax attention and rotary."}
    )
    llm = Scripted(
        proposer=[sketch, SQUARED, idea(("root", "Halve the second branch."), title="Half")],
        coder=fenced(ROOT),
    )
    child = LLMScratch(LLMScratchOptions())([], context(llm, real_check, seeds=("gpt", "mamba2")))
    assert "0.5 * mixed" in unit_at(child.tree, "root").source
    assert unit_at(child.tree, "root.mixer") == library.unit("causal_attention")
    assert "One of these has to be changed: root." in llm.prompts("proposer")[2]
    assert "Softer attention. Causal softmax" in llm.prompts("proposer")[1]


def test_the_nearest_design_is_found_by_its_units():
    names = library.seed_names()
    assert nearest_design("multi-scale retention with decay per head", names) == "retnet"
    assert nearest_design("softmax attention with rotary position", names) == "gpt"


@pytest.mark.parametrize(
    ("operator", "parents"),
    [
        (LLMMutation(LLMMutationOptions()), [gpt()]),
        (LLMCrossover(LLMCrossoverOptions()), [gpt(), retnet()]),
        (LLMScratch(LLMScratchOptions()), []),
    ],
)
def test_without_a_language_model_the_reason_is_reported(operator, parents):
    with pytest.raises(OperatorNotApplicable, match="no \\[llm\\]"):
        operator(parents, OperatorContext(random.Random(1), check=lambda tree: {}))


def test_crossing_a_design_with_itself_is_not_applicable(real_check):
    with pytest.raises(OperatorNotApplicable, match="same design"):
        LLMCrossover(LLMCrossoverOptions())([gpt(), gpt()], context(Scripted(), real_check))


def test_equal_generators_give_equal_requests(real_check):
    def asked(seed):
        llm = Scripted(proposer=SQUARED, coder=fenced(MLP))
        mutate(llm, real_check, seed=seed)
        return llm.asked

    assert asked(3) == asked(3)
    assert asked(3) != asked(4)
