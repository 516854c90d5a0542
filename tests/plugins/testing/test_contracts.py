"""The contracts that authors inherit: the built-in components keep them, faulty ones do not."""

import sys
from pathlib import Path
from typing import Any

import pytest

from genesys_engine.plugins import api, testing
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.testing import contract

pytest_plugins = ["genesys_engine.plugins.testing.fixtures"]


class TestNewUnit(testing.OperatorContract):
    name = "new_unit"


class TestTypedCrossover(testing.OperatorContract):
    name = "typed_crossover"


class TestQuadrant(testing.SelectorContract):
    name = "quadrant"
    options = {"exploration": 0.5}


class TestNsga2(testing.SelectorContract):
    name = "nsga2"


class TestNsga2WithScores(testing.SelectorContract):
    name = "nsga2"
    options = {"objectives": "quality+continuation:acc"}


class TestTorchTrainer(testing.TrainerContract):
    name = "torch"


@pytest.mark.exhaustive
@pytest.mark.slow
class TestHfTrainer(testing.TrainerContract):
    name = "hf"


class TestHeldout(testing.EvaluatorContract):
    name = "heldout"
    options = {"windows": 16}


class TestMqar(testing.BlockEvaluatorContract):
    name = "mqar"
    options = {"steps": 3, "batch": 4, "items": 8, "width": 32}


@pytest.mark.exhaustive
@pytest.mark.slow
class TestMemorise(testing.BlockEvaluatorContract):
    name = "memorise"
    options = {"steps": 3, "batch": 4, "items": 8, "width": 32}


class TestProcess(testing.ExecutorContract):
    name = "process"
    options = {"preload": []}


class TestSlurm(testing.ExecutorContract):
    name = "slurm"
    options = {"mode": "local", "preload": []}


class TestTensorboard(testing.TrackerContract):
    name = "tensorboard"


class TestLibrary(testing.KnowledgeSourceContract):
    name = "library"


class TestFolder(testing.KnowledgeSourceContract):
    name = "folder"

    @pytest.fixture(autouse=True)
    def _notes(self, tmp_path: Path) -> None:
        notes = tmp_path / "notes"
        notes.mkdir()
        (notes / "a.md").write_text("# Gates\n\nA gate decays the state.")
        (notes / "b.pdf").write_bytes(b"nonsense")
        type(self).place = str(notes)


@pytest.mark.parametrize("section", ["tree", "leaderboard", "best", "failures"])
class TestSections(testing.ReportSectionContract):
    @pytest.fixture(autouse=True)
    def _named(self, section: str) -> None:
        type(self).name = section
        type(self).may_be_empty = section == "failures"


FAULTY = """
import random
import torch
from genesys_engine.gab import library
from genesys_engine.plugins import api

class Lax(api.BaseModel if hasattr(api, "BaseModel") else object):
    pass

class Chance:
    arity = (1, 1)
    def __call__(self, parents, context):
        name = random.choice(("gpt", "retnet", "ttt", "mamba2"))
        return api.Child(library.seed(name), "Two\\nlines.")

class Same:
    def __init__(self):
        pass
    def parents(self, candidates, count, rng):
        candidates.fitness[0] = 0
        return [0] * count
    def promote(self, candidates, rng):
        return len(candidates)
    def survivors(self, candidates, count):
        return list(range(count))

class Generous:
    def evaluate(self, model, corpus):
        return {"ease": api.Score(1.0, float("nan"), True, 0)}

class Leaky:
    def __init__(self, *, run):
        self.file = (run.folder / "x.csv").open("w")
    def on_event(self, event):
        if event["kind"] == "never.heard":
            raise KeyError(event["kind"])
    def close(self):
        pass

def section(store):
    return "<b>x</b>", store.meta("name") + " ".join(d.change for d in store.designs())

class Careless:
    made = 0
    def __init__(self, *, cache):
        Careless.made += 1
    def fetch(self, place):
        yield "no document"
        yield api.Document(f"faulty:{Careless.made}", "title", "text", "faulty")
    def search(self, query, limit):
        return [api.Document("faulty:1", "title", "text", "faulty")] * 5

class Mute:
    def complete(self, request):
        return api.LLMReply("", 0, 0)
    def close(self):
        pass

class Strict:
    def check(self, subject):
        yield api.Finding("x.y", "error", "no", "", None, None, {})

def _one(kind, target):
    def register_it(register):
        register("faulty", "faulty_parts:" + target, summary="faulty")
    register_it.__name__ = f"genesys_register_{kind}s"
    return api.hookimpl(register_it)

genesys_register_operators = _one("operator", "Chance")
genesys_register_selectors = _one("selector", "Same")
genesys_register_evaluators = _one("evaluator", "Generous")
genesys_register_trackers = _one("tracker", "Leaky")
genesys_register_report_sections = _one("report_section", "section")
genesys_register_knowledge_sources = _one("knowledge_source", "Careless")
genesys_register_llm_backends = _one("llm_backend", "Mute")
genesys_register_checkers = _one("checker", "Strict")
"""

BROKEN_PROMISES = {
    "Operator": (
        "test_children_are_valid_and_described",
        "test_equal_generators_give_equal_children",
        "test_children_are_the_same_in_another_process",
        "test_loading_the_plugin_imports_nothing_heavy",
    ),
    "Selector": (
        "test_parents_are_distinct_and_in_range",
        "test_one_is_promoted",
        "test_survivors_are_distinct_and_in_range",
        "test_candidates_are_not_changed",
    ),
    "Evaluator": ("test_scores_are_finite_and_counted", "test_a_model_that_gives_nan_has_no_score"),
    "Tracker": (
        "test_it_takes_what_comes_again_and_what_it_does_not_know",
        "test_closing_lets_its_files_go",
    ),
    "ReportSection": ("test_it_shows_a_run", "test_texts_of_a_run_are_escaped"),
    "KnowledgeSource": (
        "test_fetching_gives_documents_or_errors",
        "test_searching_gives_at_most_the_limit",
        "test_ids_are_unique",
        "test_documents_are_the_same_again",
        "test_a_missing_place_is_reported",
    ),
    "LLMBackend": ("test_a_reply_has_text_and_counts",),
    "Checker": ("test_sound_designs_pass",),
}


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin whose every component breaks a promise, as if it were installed."""
    file = tmp_path / "faulty_parts.py"
    file.write_text(FAULTY)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "faulty_parts", raising=False)
    host = PluginHost(local=[str(file)])
    assert host.broken() == ()
    monkeypatch.setattr(contract, "installed", lambda: host)


@pytest.mark.parametrize("kind", BROKEN_PROMISES)
def test_a_component_that_breaks_a_promise_fails(
    kind: str, faulty: None, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    base = getattr(testing, f"{kind}Contract")
    tested: Any = type("Tested", (base,), {"name": "faulty"})()
    given = {"tmp_path": tmp_path}
    for name in ("tiny_corpus", "run_folder"):
        given[name] = request.getfixturevalue(name)
    for name in BROKEN_PROMISES[kind]:
        test = getattr(tested, name)
        wanted = test.__code__.co_varnames[1 : test.__code__.co_argcount]
        with pytest.raises((AssertionError, KeyError)):
            test(**{key: given[key] for key in wanted})


def test_a_scripted_model_answers_in_order_and_from_its_record(scripted_llm) -> None:
    llm = scripted_llm("one two", api.BudgetSpent(), "three")
    first, second = (api.LLMRequest((("user", text),)) for text in ("a b c", "d"))
    assert llm.ask("proposer", first).text == "one two"
    assert llm.ask("proposer", first).text == "one two"
    with pytest.raises(api.BudgetSpent):
        llm.ask("coder", second)
    assert llm.ask("coder", second).text == "three"
    with pytest.raises(api.LLMRefused):
        llm.ask("coder", first)
    used = llm.usage()["proposer"]
    assert (used.calls, used.input_tokens, used.output_tokens) == (2, 6, 4)
    assert [role for role, _ in llm.asked] == ["proposer"] * 2 + ["coder"] * 3


def test_the_check_of_a_block_finds_what_the_engine_would(check_block) -> None:
    assert check_block(api.library.seed("gpt")) == []
