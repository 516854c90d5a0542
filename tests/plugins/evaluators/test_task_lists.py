"""Lists of tasks: what names stand for, minimal pairs, BIG-bench's archive, folders of YAML."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from training_support import TinyModel

from genesys_engine.engine.config import load_experiment
from genesys_engine.engine.corpus import task_data as engine_tasks
from genesys_engine.engine.corpus.task_data import prepare_tasks, with_data
from genesys_engine.engine.jobs.worker_jobs import ComponentSpec
from genesys_engine.engine.score.fitness import metric_value
from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.plugins.corpus import file_digest
from genesys_engine.plugins.evaluators import bigbench
from genesys_engine.plugins.evaluators.lm_eval import LmEvalEvaluator
from genesys_engine.plugins.evaluators.minimal_pairs import ITEMS, PHENOMENA, items
from genesys_engine.plugins.evaluators.options import LmEvalOptions
from genesys_engine.plugins.evaluators.task_names import (
    Task,
    expand,
    group_members,
    library_files,
    task_metrics,
    unknown,
)

LM_EVAL = "genesys_engine.plugins.evaluators.lm_eval:LmEvalEvaluator"
YES_NO = {
    "examples": [
        {"input": f"Is {i} even?", "target_scores": {"yes": (i + 1) % 2, "no": i % 2}}
        for i in range(12)
    ]
    + [{"input": "Both?", "target_scores": {"yes": 1, "no": 1}}, {"input": "x", "target": "y"}],
    "example_input_prefix": "\nQ: ",
    "example_output_prefix": "\nA: ",
}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A source archive in the form of the package's, with two small tasks."""
    path = tmp_path / "packages" / engine_tasks.ARCHIVE
    path.parent.mkdir()
    members = {
        "b-1/bigbench/benchmark_tasks/general_knowledge/task.json": YES_NO,
        "b-1/bigbench/benchmark_tasks/group/part/task.json": YES_NO,
        "b-1/bigbench/benchmark_tasks/poems/task.json": {"examples": [{"input": "a"}]},
    }
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            data = json.dumps(content).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def experiment(folder: Path, *tasks: str):
    file = folder / "e.toml"
    file.write_text(f'[[evaluators]]\nuse = "heldout"\n[[evaluators]]\nuse = "lm_eval"\n'
                    f"tasks = {json.dumps(tasks)}\n")  # fmt: skip
    return load_experiment(file, ())


def test_names_stand_for_tasks_each_once(corpus) -> None:
    found = expand(["offline", "continuation", "minimal_pairs/participle", "bigbench"], corpus)
    assert found.local == (
        Task("continuation"), Task("corruption"), Task("participle", "minimal_pairs"),
    )  # fmt: skip
    assert len(found.bigbench) == 16
    assert found.need_data
    assert not expand(["offline", "minimal_pairs"]).need_data
    english = type(corpus)(corpus.folder, {**corpus.manifest, "settings": {"use": "english"}})
    assert len(expand(["offline"], english).local) == 2 + len(PHENOMENA)


@pytest.mark.parametrize("phenomenon", PHENOMENA)
def test_pairs_differ_in_one_place_and_do_not_give_the_answer_away(phenomenon: str) -> None:
    found = items(phenomenon)
    assert found == items(phenomenon), "the same everywhere"
    assert len({tuple(sorted(item["choices"])) for item in found}) == len(found) == ITEMS
    places = Counter(item["label"] for item in found)
    assert 30 <= places[0] <= 70
    for item in found:
        good, bad = (text.rstrip(".").split() for text in item["choices"])
        differing = sum(a != b for a, b in zip(good, bad, strict=False))
        swapped = sorted(good) == sorted(bad)
        assert swapped or (differing == 1 and len(good) == len(bad)) or "been" in good


def test_agreement_is_balanced_between_one_and_several() -> None:
    """A model that always prefers the longer or the shorter form is near chance."""
    for phenomenon in ("verb_agreement", "verb_agreement_across", "determiner_noun"):
        right = [item["choices"][item["label"]] for item in items(phenomenon)]
        wrong = [item["choices"][1 - item["label"]] for item in items(phenomenon)]
        longer = sum(len(a) > len(b) for a, b in zip(right, wrong, strict=True))
        assert 35 <= longer <= 65 or phenomenon == "determiner_noun"


def test_scores_of_groups_are_means_and_count_once(corpus) -> None:
    names = ("minimal_pairs/participle", "minimal_pairs/adjective_order", "continuation")
    evaluator = LmEvalEvaluator(LmEvalOptions(tasks=names, limit=20))
    scores = evaluator.evaluate(TinyModel(corpus.vocab_size), corpus)
    parts = [scores[f"{name}:acc"] for name in names[:2]]
    assert set(LmEvalEvaluator.metrics(evaluator.options, "text")) == set(scores)
    group = scores["minimal_pairs:acc"]
    assert group.value == pytest.approx(sum(part.value for part in parts) / 2)
    assert group.stderr == pytest.approx(sum(p.stderr**2 for p in parts) ** 0.5 / 2)
    assert group.n == 40
    mean = (group.value + scores["continuation:acc"].value) / 2
    assert metric_value(scores, "accuracy") == pytest.approx(mean)
    assert evaluator.samples["continuation:acc"].mean() == pytest.approx(
        scores["continuation:acc"].value
    )


def test_bigbench_is_read_out_of_the_archive(archive: Path, tmp_path: Path) -> None:
    assert bigbench.extract(archive, ["general_knowledge"], tmp_path / "x") == {
        "general_knowledge": 12
    }
    lines = (tmp_path / "x" / "general_knowledge.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert rows[0]["context"] == "Q: Is 0 even?\nA:"
    assert [row["choices"][row["label"]] for row in rows] == [" yes", " no"] * 6
    assert len({row["label"] for row in rows}) == 2, "the right one is not always first"
    assert list(bigbench.names(archive)) == ["general_knowledge", "poems"]
    with pytest.raises(InputError, match="no task 'general_knowlege'") as error:
        bigbench.extract(archive, ["general_knowlege"], tmp_path / "x")
    assert "general_knowledge" in str(error.value.hint)
    with pytest.raises(InputError, match="exactly one right choice"):
        bigbench.extract(archive, ["poems"], tmp_path / "x")


def test_a_run_prepares_bigbench_and_tells_the_worker_where(
    archive: Path, tmp_path: Path, corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENESYS_CACHE", str(tmp_path))
    monkeypatch.setattr(engine_tasks, "ARCHIVE_SHA256", file_digest(archive))
    loaded = experiment(tmp_path, "bigbench/general_knowledge")
    said: list[str] = []
    folders = prepare_tasks(loaded.evaluators, said.append)
    entry = ComponentSpec(LM_EVAL, dict(loaded.evaluators[1].options), "lm_eval")
    options = with_data(entry, folders).options
    evaluator = LmEvalEvaluator(LmEvalOptions.model_validate(options))
    scores = evaluator.evaluate(TinyModel(corpus.vocab_size), corpus)
    assert scores["bigbench/general_knowledge:acc"].n == 12
    assert scores["bigbench:acc"].value == scores["bigbench/general_knowledge:acc"].value
    said.clear()
    assert prepare_tasks(loaded.evaluators, said.append) == folders
    assert said == [], "the second time costs nothing"
    assert loaded.evaluators[1].options["data"] is None, "no path enters the experiment's digest"


def test_bigbench_without_an_index_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENESYS_CACHE", str(tmp_path / "cache"))
    for name, value in {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0",
                        "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": "", "PIP_NO_INDEX": "1",
                        "PIP_CONFIG_FILE": "/dev/null"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with pytest.raises(EnvironmentProblem, match="cannot be fetched with pip") as error:
        prepare_tasks(experiment(tmp_path, "bigbench").evaluators, lambda stage: None)
    assert engine_tasks.ARCHIVE in str(error.value.hint)
    assert not list((tmp_path / "cache" / "tasks").iterdir())


TASK = """
task: parity
dataset_path: json
dataset_kwargs: {{data_files: {{test: {path}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: [" yes", " no"]
doc_to_target: answer
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""


@pytest.mark.slow
def test_a_folder_of_yaml_is_prepared_here_and_run_there(
    tmp_path: Path, corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENESYS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    folder = tmp_path / "own"
    folder.mkdir()
    data = tmp_path / "data.jsonl"
    rows = [{"question": f"Is {i} even?", "answer": i % 2} for i in range(10)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "parity.yaml").write_text(TASK.format(path=data))
    loaded = experiment(tmp_path, str(folder))
    folders = prepare_tasks(loaded.evaluators, lambda stage: None)
    data.unlink()  # a worker reads what was prepared
    entry = ComponentSpec(LM_EVAL, dict(loaded.evaluators[1].options), "lm_eval")
    options = LmEvalOptions.model_validate(with_data(entry, folders).options)
    scores = LmEvalEvaluator(options).evaluate(TinyModel(corpus.vocab_size), corpus)
    assert scores["parity:acc"].n == 10
    assert set(LmEvalEvaluator.metrics(options, "text")) == set(scores)


def test_a_folder_without_tasks_is_refused(tmp_path: Path) -> None:
    assert unknown([str(tmp_path)]) == f"no folder {str(tmp_path)!r} with lm-eval tasks (.yaml)"
    assert unknown(["./nowhere"]) is not None
    assert unknown(["hellaswag", "blimp", "arc_easy", "offline"]) is None


def test_the_files_of_tasks_are_read_as_lm_eval_reads_them() -> None:
    from lm_eval.tasks._yaml_loader import load_yaml

    known = groups = 0
    for name, path in list(library_files().items())[::40]:
        config = load_yaml(path, resolve_func=False)
        if (metrics := task_metrics(path)) is not None:
            known += 1
            assert metrics == [entry["metric"] for entry in config["metric_list"]], name
        if (members := group_members(path)) is not None:
            groups += 1
            assert members == config["task"], name
    assert known > 200
    assert groups > 5
