"""A folder of the user's tasks, scored by a run of the real command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from engine_process import engine, here, write_experiment

from genesys_engine.engine.config import load_experiment
from genesys_engine.engine.store.run_store import Store

PARITY = """
task: parity
dataset_path: json
dataset_kwargs: {data_files: {test: my_tasks/rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: !function words.question
doc_to_choice: [" no", " yes"]
doc_to_target: answer
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: f1, aggregation: f1, higher_is_better: true}
"""
WORDS = "def question(row):\n    return f\"Is {row['number']} even?\"\n"


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment in the working folder, with a folder of tasks beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # the hub is not asked
    monkeypatch.setenv("GENESYS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "my_tasks"
    folder.mkdir()
    rows = [{"number": i, "answer": (i + 1) % 2} for i in range(12)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "parity.yaml").write_text(PARITY)
    (folder / "words.py").write_text(WORDS)
    tasks = '[[evaluators]]\nuse = "lm_eval"\ntasks = ["./my_tasks"]\n'
    preload = ("datasets", "lm_eval.evaluator")
    return write_experiment(tmp_path, verifications=1, designs=1, more=tasks, preload=preload)


def test_a_digest_leaves_the_experiment_as_it_is(experiment: Path) -> None:
    read = load_experiment(experiment)
    before = json.dumps(read.to_json())
    assert read.digest == read.digest
    assert json.dumps(read.to_json()) == before, "workers are told the whole path"


@pytest.mark.slow
def test_a_run_scores_the_tasks_of_a_folder(experiment: Path, tmp_path: Path) -> None:
    done = engine("run", experiment, "--out", tmp_path / "run")
    assert done.code == 1, done.err  # no child was verified, with one verification in all
    with Store.open(tmp_path / "run") as store:
        row = next(row for row in store.verifications() if row.status == "ok")
    assert {"parity:acc", "parity:f1"} <= set(row.scores)
    assert row.scores["parity:f1"].n == 12


def test_a_malformed_file_ends_a_run_before_it_begins(experiment: Path, tmp_path: Path) -> None:
    file = tmp_path / "my_tasks" / "bad.yaml"
    file.write_text("task: bad\nmetric_list: [acc\n")
    here("run", experiment, "--out", tmp_path / "run").refused(2, f"{file}:3:1: ", "  help: ")


@pytest.mark.parametrize(
    "more",
    ["num_fewshot: 12\n", "num_fewshot: 9\nprocess_docs: !function words.few\n"],
    ids=["counted here", "counted by a worker"],
)
def test_more_examples_than_documents_end_a_run_before_it_begins(
    more: str, experiment: Path, tmp_path: Path
) -> None:
    """The task, its file and the numbers are named, and no run is left that a resume could help."""
    file = tmp_path / "my_tasks" / "parity.yaml"
    file.write_text(PARITY + more)
    words = file.with_name("words.py")
    words.write_text(WORDS + "def few(rows):\n    return rows.select(range(8))\n")
    done = engine("run", experiment, "--out", tmp_path / "run")
    done.refused(2, f"{file}: the task parity asks for ", "num_fewshot", "  help: ")
    assert "resume" not in done.err
    assert not (tmp_path / "run").exists()
