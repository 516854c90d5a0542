"""The user's folders of YAML and lm-eval's tasks in Python, through the real sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import datasets
import lm_eval.tasks
import pytest
from huggingface_hub import constants

from genesys_engine.engine.corpus import task_data as engine_tasks
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.evaluators.library_tasks import prepare
from genesys_engine.plugins.evaluators.lm_eval import LmEvalEvaluator
from genesys_engine.plugins.evaluators.task_names import expand, score_names
from genesys_engine.plugins.executors.options import preloaded_with
from genesys_engine.plugins.sandbox import Limits, SandboxHost

BASE = "genesys_engine.plugins"

COMMON = """
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
"""

PARITY = """
include: common.yaml
task: parity
output_type: multiple_choice
process_docs: !function utils.asked
doc_to_text: "{{question}}"
doc_to_choice: [" no", " yes"]
doc_to_target: answer
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: f1, aggregation: f1, higher_is_better: true}
  - {metric: mcc, aggregation: matthews_corrcoef, higher_is_better: true}
"""

LAST_WORD = """
include: common.yaml
task: last_word
output_type: loglikelihood
doc_to_text: "{{number}} is"
doc_to_target: " even"
metric_list: [{metric: perplexity, aggregation: perplexity, higher_is_better: false}]
"""

BROUGHT = """
task: brought
tag: own
custom_dataset: !function utils.brought
test_split: test
output_type: loglikelihood
doc_to_text: "{{number}} is"
doc_to_target: " even"
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""

# The environment of a worker is built up anew, so the variable tells where this runs.
UTILS = """
import os

assert "PYTEST_CURRENT_TEST" not in os.environ, "this is the engine's process"


def brought(**_):
    import datasets

    return {"test": datasets.Dataset.from_list([{"number": i} for i in range(20)])}


def asked(rows):
    return rows.map(lambda row: {"question": f"Is {row['number']} even?"})
"""


@pytest.fixture(scope="module")
def host() -> Iterator[SandboxHost]:
    host = SandboxHost(workers=1, preload=preloaded_with(LmEvalEvaluator.preload))
    yield host
    host.close()


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's working folder, which is home too, with a folder of tasks in it."""
    monkeypatch.setenv("GENESYS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    rows = [{"number": i, "answer": (i + 1) % 2} for i in range(20)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = tmp_path / "own"
    (folder / "words").mkdir(parents=True)
    (folder / "common.yaml").write_text(COMMON)
    (folder / "parity.yaml").write_text(PARITY)
    (folder / "words" / "last.yaml").write_text(LAST_WORD.replace("common", "../common"))
    (folder / "brought.yaml").write_text(BROUGHT)
    (folder / "utils.py").write_text(UTILS)
    return folder


def prepared(*names: str) -> Path:
    """Return where the data of tasks lie, prepared as for a run."""
    return engine_tasks._prepared(list(names), expand(names), lambda stage: None)


def scores(host: SandboxHost, corpus, data: Path, scratch: Path, *names: str) -> dict[str, Any]:
    """Return the scores of the bigram control, from a job that may read the data alone."""
    options = {"tasks": list(names), "data": str(data), "limit": 20}
    evaluators = f"{BASE}.evaluators"
    payload = {
        "corpus": str(corpus.folder),
        "context": 64,
        "evaluators": [
            {"target": f"{evaluators}.heldout:HeldoutEvaluator", "options": {"windows": 2}},
            {"target": f"{evaluators}.lm_eval:LmEvalEvaluator", "options": options},
        ],
    }
    limits = Limits(readable=(str(corpus.folder), str(data)))
    outcome = host.submit(f"{BASE}.evaluate_job:controls", payload, scratch, limits).result(240)
    assert outcome.status == "ok", outcome.reason
    found: dict[str, Any] = outcome.value["bigram"]
    del found["bits_per_byte"]
    return found


@pytest.mark.parametrize("name", ["./own", "~/own"])
def test_a_folder_is_scored_by_a_job_that_cannot_read_it(
    name: str, own: Path, corpus, host: SandboxHost, tmp_path: Path
) -> None:
    """Metrics with a bootstrapped error, code beside the YAML, data of the working folder."""
    found = scores(host, corpus, prepared(name), tmp_path / "scratch", name)
    parity = {f"parity:{metric}" for metric in ("acc", "f1", "mcc")}
    assert set(found) == {*parity, "last_word:perplexity", "brought:acc"}
    assert all(score["n"] == 20 for score in found.values())
    assert all(score["stderr"] is not None for score in found.values())
    assert found["last_word:perplexity"]["stderr"] > 0


def test_a_group_of_a_folder_has_a_score_of_its_own(
    own: Path, corpus, host: SandboxHost, tmp_path: Path
) -> None:
    (own / "group.yaml").write_text("group: evens\ntask:\n  - parity\n  - brought\n")
    assert {"evens:acc", "evens/parity:f1", "last_word:perplexity"} <= set(
        score_names(["./own"], "text")
    )
    found = scores(host, corpus, prepared("./own"), tmp_path / "scratch", "./own")
    parts = [found[f"evens/{name}:acc"]["value"] for name in ("parity", "brought")]
    assert found["evens:acc"]["value"] == pytest.approx(sum(parts) / 2)
    assert found["evens:acc"]["n"] == 40
    assert not {"parity:acc", "brought:acc"} & set(found)


def test_a_changed_folder_is_prepared_anew(own: Path) -> None:
    first = prepared("./own")
    (own / "__pycache__").mkdir()
    (own / "__pycache__" / "utils.pyc").write_bytes(b"of no account")
    assert prepared("./own") == first
    (own / "utils.py").write_text(UTILS + "\n# changed\n")
    assert prepared("./own") != first


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ("task: a\nmetric_list: [1\nb: 2\n", "bad.yaml:3:2", "did not find expected"),
        ("- task: a\n", "bad.yaml", "Expected YAML dict"),
        ("task: a\n---\ntask: b\n", "bad.yaml:2:1", "another document"),
        ("task: a\ninclude: nowhere.yaml\n", "bad.yaml", "No such file"),
        ("task: a\ninclude: ../outside.yaml\n", "bad.yaml", "outside.yaml"),
        ("task: a\ntest_split: test\n", "bad.yaml", "dataset_path"),
        (
            "task: a\ninclude: common.yaml\nnum_fewshot: 20\n",
            "bad.yaml",
            "20 few-shot .* 19 of them",
        ),
        ("task: a\ninclude: common.yaml\ntest_split: dev\n", "bad.yaml", "only 'test'"),
        ("task: last_word\ninclude: common.yaml\n", "words/last.yaml", "there twice"),
        ("group: g\ntask: [parity, nothing]\n", "bad.yaml", "'nothing', which is no task"),
        ("task_list: [{task: a}, {task: b}]\n", "bad.yaml", "list of tasks"),
    ],
)
def test_a_file_that_is_no_task_is_told_with_its_place(
    text: str, place: str, told: str, own: Path
) -> None:
    Path("outside.yaml").write_text("test_split: test\n")
    (own / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=told) as error:
        prepared("./own")
    assert error.value.where == str(own / place)
    assert error.value.hint
    assert not list(Path("cache/tasks").iterdir())


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Path:
    """lm-eval's tasks, of which no index is made but of two folders: that takes 20 seconds."""
    root = Path(lm_eval.tasks.__file__).parent
    folders = [root / "squad_completion", root / "tinyBenchmarks"]
    manager = lm_eval.tasks.TaskManager(include_path=folders, include_defaults=False)
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", lambda **_: manager)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return root


def test_a_task_in_python_is_given_its_data(
    library: Path, corpus, host: SandboxHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its class takes no configuration, and would ask the hub for itself."""
    row = {"text": "The colour of the sky is ", "value": " blue "}
    rows = datasets.DatasetDict({"validation": datasets.Dataset.from_list([row] * 4)})
    monkeypatch.setattr(datasets, "load_dataset", lambda path, **_: rows)
    (tmp_path / "data").mkdir()
    prepare(expand(["squad_completion"]), tmp_path / "data", lambda stage: None)
    data = tmp_path / "data"
    found = scores(host, corpus, data, tmp_path / "scratch", "squad_completion")
    assert found["squad_completion:contains"]["n"] == 4


@pytest.mark.skipif(find_spec("tinyBenchmarks") is not None, reason="the package is installed")
def test_a_package_that_a_task_needs_is_named(library: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tinyMMLU needs a package") as error:
        prepare(expand(["tinyMMLU"]), tmp_path, lambda stage: None)
    assert "pip install git+https" in error.value.message
    assert "leave the task out" in str(error.value.hint)
    assert not list(tmp_path.iterdir())
