"""Few-shot prompts of the real lm-eval: enough examples, always the same, never the question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import datasets
import pytest
from lm_eval.tasks import TaskManager

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.evaluators.demands import read_demands
from genesys_engine.plugins.evaluators.lm_eval_tasks import SEED, load_tasks

WHERE = "tasks/sums.yaml"
ROWS = [{"question": f"{i} and 1 is", "answer": f"{i + 1}"} for i in range(20)]
OTHERS = [{"question": f"{i} and 2 is", "answer": f"{i + 2}"} for i in range(20)]


def sums(shots: int, splits: dict[str, list[dict[str, str]]], **more: Any) -> dict[str, Any]:
    def load(**_: object) -> dict[str, datasets.Dataset]:
        return {name: datasets.Dataset.from_list(rows) for name, rows in splits.items()}

    return {
        "task": "sums",
        "custom_dataset": load,
        "output_type": "loglikelihood",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "num_fewshot": shots,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        **more,
    }


def prompts(config: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the (prompt, answer) of every document."""
    task = load_tasks([(config, WHERE)])["sums"]
    task.build_all_requests()
    return [instance.args for instance in task.instances]


def upper(rows: datasets.Dataset) -> datasets.Dataset:
    return rows.map(lambda row: {"question": row["question"].replace("and", "plus")})


ONE, TWO = {"test": ROWS}, {"test": ROWS, "train": [*OTHERS, *ROWS[:5]]}
MEETINGS: dict[str, Callable[[], dict[str, Any]]] = {
    "no other split": lambda: sums(8, ONE, test_split="test"),
    "named": lambda: sums(8, ONE, test_split="test", fewshot_split="test"),
    "the training split": lambda: sums(8, ONE, test_split="test", training_split="test"),
    "the validation split": lambda: sums(8, ONE, validation_split="test", fewshot_split="test"),
    "the first": lambda: sums(8, ONE, test_split="test", fewshot_config={"sampler": "first_n"}),
    "processed": lambda: sums(
        8,
        ONE,
        test_split="test",
        fewshot_split="test",
        process_docs=upper,
        fewshot_config={"process_docs": lambda rows: rows.add_column("more", list(range(20)))},
        doc_to_text="{{question | replace('plus', 'and')}}",
    ),
    "twice": lambda: sums(8, {"test": ROWS * 2}, test_split="test"),
    "another split": lambda: sums(8, TWO, test_split="test", fewshot_split="train"),
    "listed": lambda: sums(8, ONE, test_split="test", fewshot_config={"samples": ROWS[:12]}),
    "all others": lambda: sums(19, ONE, test_split="test"),
    "all others, twice": lambda: sums(36, {"test": ROWS * 2}, test_split="test"),
}


@pytest.mark.parametrize("meeting", MEETINGS)
def test_no_prompt_holds_its_own_question(meeting: str) -> None:
    config = MEETINGS[meeting]()
    found = prompts(config)
    assert len(found) >= 20
    for prompt, answer in found:
        *examples, question = prompt.split("\n\n")
        assert len(examples) == config["num_fewshot"]
        assert len(set(examples)) >= len(examples) // 2
        assert f"{question} {answer}" not in examples
    assert found == prompts(MEETINGS[meeting]()), "examples are drawn with a seed"


def test_clean_examples_are_those_that_lm_eval_draws() -> None:
    config = sums(4, {"test": ROWS, "train": OTHERS}, test_split="test", training_split="train")
    task = TaskManager(include_defaults=False).load([dict(config)])["tasks"]["sums"]
    task.set_fewshot_seed(SEED)  # as `lm_eval` does
    task.build_all_requests()
    assert prompts(config) == [instance.args for instance in task.instances]


@pytest.mark.parametrize(
    ("config", "numbers"),
    [
        (sums(20, ONE, test_split="test"), ("20", "19")),
        (sums(21, TWO, test_split="test", fewshot_split="test"), ("21", "19")),
        (sums(26, TWO, test_split="test", training_split="train"), ("26", "25")),
        (sums(3, ONE, test_split="test", fewshot_config={"samples": ROWS[:2]}), ("3", "2")),
        (sums(13, {"test": ROWS[:5] * 3}, test_split="test"), ("13", "12")),
        (sums(1, {"test": ROWS[:1]}, test_split="test"), ("1", "0")),
    ],
)
def test_more_examples_than_there_are(config: dict[str, Any], numbers: tuple[str, str]) -> None:
    with pytest.raises(InputError) as error:
        prompts(config)
    assert error.value.where == WHERE
    assert "sums" in error.value.message
    assert all(number in error.value.message for number in numbers[:1])
    assert numbers[1] in f"{error.value.message} {error.value.hint}"


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"test_split": "test", "num_fewshot": "three"}, "num_fewshot = 'three'"),
        ({"test_split": "test", "num_fewshot": -1}, "num_fewshot = -1"),
        ({"training_split": "train"}, "no split to score"),
        ({"test_split": "tset"}, "'tset'"),
        ({"test_split": "test", "fewshot_split": "dev"}, "'dev'"),
        ({"test_split": "empty"}, "no documents"),
        ({"validation_split": "test", "num_fewshot": 6}, "5 of them without the question"),
        ({"test_split": "test", "training_split": "train", "num_fewshot": 5}, "4 documents"),
    ],
)
def test_what_a_file_asks_is_held_against_its_data(config: dict[str, Any], told: str) -> None:
    sizes = {"test": 6, "train": 4, "empty": 0}
    with pytest.raises(InputError, match=told) as error:
        read_demands("sums", WHERE, config).check_splits(sizes)
    assert error.value.where == WHERE
    assert error.value.hint


def test_what_code_makes_of_documents_is_counted_by_a_worker_only() -> None:
    config = {"test_split": "test", "num_fewshot": 30, "process_docs": "words.more"}
    read_demands("sums", WHERE, config).check_splits({"test": 6})
    with pytest.raises(InputError, match="has 20 documents"):
        prompts(sums(20, ONE, test_split="test", process_docs=upper))


def test_what_a_task_raises_names_it() -> None:
    def divide(row: dict[str, str]) -> str:
        raise ZeroDivisionError("by none")

    with pytest.raises(InputError, match="task sums: ZeroDivisionError: by none") as error:
        prompts(sums(0, ONE, test_split="test", doc_to_text=divide))
    assert error.value.where == WHERE


OPTIONS = ["The dog barked and it", "The very old grey cat of my aunt slept and it"]
BLANKS = [{"options": OPTIONS, "right": right} for right in (0, 1)]


def test_lengths_decide_nothing_where_contexts_vary() -> None:
    """lm-eval divides the likelihoods of one and the same answer by the contexts' lengths."""
    config = {
        "task": "blanks",
        "custom_dataset": lambda **_: {"test": datasets.Dataset.from_list(BLANKS)},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": lambda row: row["right"],
        "doc_to_choice": "options",
        "doc_to_target": lambda row: "was loud.",
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True}
            for metric in ("acc", "acc_norm", "acc_bytes")
        ],
    }
    task = load_tasks([(config, WHERE)])["blanks"]
    plain = TaskManager(include_defaults=False).load([dict(config)])["tasks"]["blanks"]
    likely = [(-4.0, False), (-6.0, False)]  # the first context makes the answer likelier
    for row, right in zip(BLANKS, (1.0, 0.0), strict=True):
        scores = task.process_results(row, likely)
        assert scores == dict.fromkeys(("acc", "acc_norm", "acc_bytes"), right)
        assert plain.process_results(row, likely)["acc_norm"] == 1.0 - right
