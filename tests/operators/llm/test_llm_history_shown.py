"""What a proposer is shown of its parents: how they came about, how they did, what was tried."""

import json

import pytest
from designer_support import Scripted, context, gpt

from genesys_engine.gab import library
from genesys_engine.operators.llm.crossover import LLMCrossover, LLMCrossoverOptions
from genesys_engine.operators.llm.mutation import LLMMutation, LLMMutationOptions
from genesys_engine.plugins.api import DesignAbandoned, History, Parent, RungResult, Tried

SQUARED = "Squared gate: root.mlp: Replace SiLU by a squared ReLU."
GPT = History(
    results=(
        RungResult("0.2M", 1.234, True, {"bits_per_byte": (2.9141, 2.9512)}),
        RungResult("1M", None, None, {}, "training: loss exploded to 1e+09 at step 31"),
    ),
    findings=("cost.slow: 3.1 times as slow as the reference. Fuse the loop.",),
    children=(
        Tried(SQUARED, "verified", "gain +0.42 % up to 0.2M", 7),
        Tried("Wider window. It failed.", "abandoned", "given up: causality.leak"),
        Tried("Two norms.", "rejected", "rejected by its check: mixing.none: nothing mixes", 5),
    ),
)
RETNET = History(results=(RungResult("0.2M", -2.0, False, {"bits_per_byte": (3.01, 2.9512)}),))


class Told:
    """A run that tells histories; what was asked is kept."""

    def __init__(self, histories=None):
        self.histories = histories or {1: GPT, 2: RETNET}
        self.asked = []

    def __call__(self, design, limit):
        self.asked.append((design, limit))
        return self.histories.get(design, History())


def no_check(tree):
    raise AssertionError("nothing is built here")


def first_prompt(operator, parents, **services):
    """Return what the proposer is asked first; it has no idea, so nothing is built."""
    llm = Scripted(proposer="none")
    with pytest.raises(DesignAbandoned):
        operator(parents, context(llm, no_check, **services))
    return llm.prompts("proposer")[0]


def mutation(**options):
    return LLMMutation(LLMMutationOptions(proposal_tries=1, **options))


def test_a_proposal_starts_from_results_findings_and_siblings():
    text = first_prompt(mutation(), [gpt()], history=Told())
    assert "How it came about: Seed design gpt." in text
    assert "- 0.2M: +1.23 % (within the noise); bits_per_byte 2.914 (reference 2.951)\n" in text
    assert "- 1M: failed, training: loss exploded to 1e+09 at step 31\n" in text
    assert "- cost.slow: 3.1 times as slow as the reference." in text
    assert f"- {SQUARED} Outcome: gain +0.42 % up to 0.2M\n" in text
    assert "- Wider window. It failed. Outcome: given up: causality.leak\n" in text
    assert "Outcome: rejected by its check: mixing.none: nothing mixes\n" in text


def test_the_second_parent_is_shown_with_its_results():
    operator = LLMCrossover(LLMCrossoverOptions(proposal_tries=1, tried=3))
    retnet = Parent(2, library.seed("retnet"), -2.0, "Seed design retnet.")
    told = Told()
    text = first_prompt(operator, [gpt(), retnet], history=told)
    assert told.asked == [(1, 3), (2, 0)]
    second = text.partition("A second design")[2]
    assert "How it came about: Seed design retnet." in second
    assert "- 0.2M: -2.00 %; bits_per_byte 3.01 (reference 2.951)\n" in second
    assert "Tried on this design" not in second


def test_a_child_that_is_shown_is_not_reported_twice():
    lines = [
        f"design 7 (0.91): {SQUARED}\n    gain +0.42 % up to 0.2M",
        "design 9 (0.30): Narrow heads.\n    gain -1.00 % up to 0.2M",
    ]
    text = first_prompt(mutation(), [gpt()], history=Told(), tried=lambda idea, limit: lines)
    assert text.count(SQUARED) == 1
    assert "- design 9 (0.30): Narrow heads. gain -1.00 % up to 0.2M\n" in text


def test_without_a_run_nothing_is_said_of_results():
    text = first_prompt(mutation(), [gpt()])
    assert "Results, by rung" not in text
    assert "Warnings of its check" not in text
    assert "Tried on this design" not in text


def test_the_reviewer_gets_the_same_parent(tmp_path):
    (tmp_path / "reviewer.j2").write_text("{{ parent.results[0].scale }} {{ parent.children }}")
    change = {"path": "root.mlp", "change": "Square it."}
    reply = json.dumps({"title": "A", "motivation": "", "changes": [change]})
    no = '{"reason": "no", "score": 0}'
    llm = Scripted(proposer=reply, reviewer=no)
    with pytest.raises(DesignAbandoned, match="A reviewer objects: no"):
        mutation(prompts=str(tmp_path))([gpt()], context(llm, no_check, history=Told()))
    assert "0.2M" in llm.prompts("reviewer")[0]
    assert "Squared gate" in llm.prompts("reviewer")[0]


def test_prompts_stay_short_whatever_is_known():
    """8k tokens at three characters each, less what a scheme and a reply take."""
    word = "word " * 2000
    result = RungResult("1M", 1.0, True, {f"m{i}": (1.0, 2.0) for i in range(50)}, word)
    tried = Tried(word, "failed", word, 3)
    long = History((result,) * 9, (word,) * 9, (tried,) * 4)
    operator = LLMCrossover(LLMCrossoverOptions(proposal_tries=1))
    parents = [Parent(n, library.seed(name), 1.0, word) for n, name in ((1, "gpt"), (2, "ttt"))]
    lines = [f"design 3 (0.9): {word}\n    {word}"] * 4
    services = {"history": Told({1: long, 2: long}), "tried": lambda idea, limit: lines}
    text = first_prompt(operator, parents, **services)
    assert len(text) < 10_000
    assert text.count("- 1M: +1.00 %") == 6
