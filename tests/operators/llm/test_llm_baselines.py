"""The whole block in one reply: direct prompting and what is built on it, and the ablations."""

import pytest
from designer_support import LEAKING, MIXER, MLP, Scripted, context, fenced, gpt, proposal

from genesys_engine.gab import library
from genesys_engine.gab.errors import InputError
from genesys_engine.operators.llm.block import entries
from genesys_engine.operators.llm.implementers import IMPLEMENTERS, implementer
from genesys_engine.operators.llm.options import ImplementerOptions
from genesys_engine.operators.llm.placing import find

NORM = library.unit("rms_norm").source
GOOD_NORM = NORM.replace("weight, self.eps)", "weight, self.eps) * 0.5")
REST = ["pre_norm_block", "rms_norm", "causal_attention", "rotary", "swiglu_mlp"]


def run(name, llm, check, *paths, token_cap=None, **options):
    made = implementer(name, ImplementerOptions(**options))
    return made.implement(proposal(*paths), [gpt()], context(llm, check), token_cap=token_cap)


def whole(**units):
    """Return a reply with every unit of GPT, some replaced, by library name."""
    return "".join(fenced(units.get(name, library.unit(name).source)) for name in REST)


def unit_at(tree, path):
    return find(tree, path).node.unit


def outcomes(made):
    return [entry["outcome"] for entry in made.trace if entry["role"] == "coder"]


def test_direct_asks_once(real_check):
    llm = Scripted(coder=whole(swiglu_mlp=MLP))
    made = run("direct", llm, real_check, "root.mlp")
    assert made.tree is not None
    assert made.attempts == 1
    assert list(llm.asked) == ["coder"]
    prompt = llm.prompts("coder")[0]
    assert prompt.count("class RMSNorm(nn.Module)") == 1, "a unit that stands twice is shown once"
    assert "Change root.mlp." in prompt
    units = llm.asked["coder"][0].purpose["units"]
    assert [unit["change"] for unit in units if unit["change"]] == ["Change root.mlp."]


def test_direct_has_no_second_try(real_check):
    llm = Scripted(coder=[whole(swiglu_mlp=LEAKING), whole(swiglu_mlp=MLP)])
    made = run("direct", llm, real_check, "root.mlp")
    assert (made.tree, made.failure, len(llm.asked["coder"])) == (None, "causality.leak", 1)


def test_one_module_with_several_classes(real_check):
    module = MIXER + MLP[MLP.index("class SwiGLUMLP") :]
    made = run("direct", Scripted(coder=fenced(module)), real_check, "root.mixer", "root.mlp")
    assert made.tree is not None
    assert "2 * self.out" in unit_at(made.tree, "root.mixer").source
    kept = made.trace[0]["kept"]
    assert set(kept) == {"PreNormBlock", "RMSNorm", "Rotary"}


def test_every_change_has_to_be_made(real_check):
    """The reply changes the mixer alone: a block that runs, and does not count."""
    llm = Scripted(coder=whole(causal_attention=MIXER))
    made = run("direct", llm, real_check, "root.mixer", "root.mlp")
    assert (made.tree, made.failure) == (None, "faithful.syntax")


def test_a_place_of_a_unit_that_stands_twice_is_changed_alone(real_check):
    listed = entries(gpt().tree, proposal("root.norm_2").changes)
    assert [(entry.name, entry.paths) for entry in listed if "Norm" in entry.name][1:] == [
        ("RMSNorm", ("root.norm_1",)),
        ("RMSNorm_2", ("root.norm_2",)),
    ]
    reply = whole() + fenced(GOOD_NORM.replace("class RMSNorm", "class RMSNorm_2"))
    made = run("direct", Scripted(coder=reply), real_check, "root.norm_2")
    assert made.tree is not None
    assert unit_at(made.tree, "root.norm_1") == library.unit("rms_norm"), "its comments too"
    assert "* 0.5" in unit_at(made.tree, "root.norm_2").source


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("", "reply.empty"),
        ("The block is fine as it is.", "reply.no_code"),
        ("```rust\nfn main() {}\n```", "reply.no_code"),
        (fenced(library.unit("rms_norm").source), "reply.missing_class"),
        ("```python\n" + MLP[:-30], "contract.syntax"),
        (fenced(MLP.replace("self.down(", "self.up_again(")), "forward.error"),
    ],
)
def test_what_never_counts(real_check, reply, code):
    made = run("direct", Scripted(coder=reply), real_check, "root.mlp")
    assert (made.tree, made.failure) == (None, code)


def test_best_of_n_asks_afresh_until_its_tokens_are_spent(real_check):
    llm = Scripted(cost=50, coder=fenced(LEAKING))
    made = run("best_of_n", llm, real_check, "root.mlp", token_cap=300)
    assert made.failure == "causality.leak"
    assert len(llm.asked["coder"]) == made.attempts == 3
    assert len(set(llm.prompts("coder"))) == 1, "no feedback"
    assert len({request.seed for request in llm.asked["coder"]}) == 3


def test_the_cap_allows_one_call_at_least(real_check):
    made = run("best_of_n", Scripted(coder=fenced(MLP)), real_check, "root.mlp", token_cap=1)
    assert made.tree is not None


def test_sequential_tells_what_was_found(real_check):
    llm = Scripted(coder=[fenced(LEAKING), fenced(MLP)])
    made = run("sequential", llm, real_check, "root.mlp", token_cap=1000)
    assert outcomes(made) == ["causality.leak", "passed"]
    assert "must not depend on later positions" in llm.prompts("coder")[1]


def test_whole_block_without_a_cap_is_bounded_by_tries_and_rounds(real_check):
    llm = Scripted(coder="no code")
    run("sequential", llm, real_check, "root.mlp", tries=2, rounds=2)
    assert len(llm.asked["coder"]) == 4


def test_no_unitwise_plans_and_observes(real_check):
    ratings = ['{"reason": "hardly changed", "score": 1}', '{"reason": "good", "score": 5}']
    llm = Scripted(coder=fenced(MLP), observer=ratings)
    made = run("no_unitwise", llm, real_check, "root.mlp")
    assert made.tree is not None
    assert made.attempts == 2
    assert len(llm.asked["planner"]) == 1
    assert "a reader objects: hardly changed" in llm.prompts("coder")[1]


@pytest.mark.parametrize(("name", "role"), [("no_planner", "planner"), ("no_observer", "observer")])
def test_an_ablation_leaves_a_role_out(real_check, name, role):
    llm = Scripted(coder=fenced(MLP))
    made = run(name, llm, real_check, "root.mlp")
    assert made.tree is not None
    assert role not in llm.asked


def test_no_checker_checks_at_the_end_only(real_check):
    before = real_check.count
    llm = Scripted(coder=[fenced(LEAKING), fenced(MLP)])
    made = run("no_checker", llm, real_check, "root.mlp")
    assert (made.tree, made.failure) == (None, "causality.leak")
    assert len(llm.asked["coder"]) == 1
    assert real_check.count == before + 1
    assert "not run" in llm.prompts("observer")[0]


def test_no_checker_does_not_repair_what_it_cannot_read(real_check):
    broken = fenced(MLP.replace("gate, up = self", "gate, up = undefined"))
    made = run("no_checker", Scripted(coder=[broken, fenced(MLP)]), real_check, "root.mlp")
    assert made.failure == "contract.undefined_name"


@pytest.mark.parametrize("name", IMPLEMENTERS)
def test_every_arm_counts_by_the_same_measure(real_check, name):
    """A unit that is only renamed is a valid block, and no arm may count it."""
    renamed = MLP.replace("F.relu(gate).square()", "F.silu(gate)").replace("gate, up", "g, up")
    renamed = renamed.replace("(gate)", "(g)")
    llm = Scripted(coder=fenced(renamed))
    made = run(name, llm, real_check, "root.mlp", tries=1, rounds=1, token_cap=1)
    assert (made.tree, made.failure) in ((None, "faithful.function"), (None, "tokens.spent"))


def test_an_unknown_implementer_is_reported_with_the_nearest():
    with pytest.raises(InputError) as caught:
        implementer("best_of")
    assert "best_of_n" in str(caught.value.hint)
