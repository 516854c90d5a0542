"""A relative path in an experiment is relative to its file, one of --set to the working folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_process import engine
from pydantic import BaseModel

from genesys_engine.engine.config import ConfigError, Experiment, load_experiment
from genesys_engine.engine.config.kept import kept_paths
from genesys_engine.engine.config.load import COMPONENTS, LLM_KIND
from genesys_engine.engine.config.validate import model_in
from genesys_engine.engine.corpus import CorpusOptions
from genesys_engine.engine.corpus.sources import open_source
from genesys_engine.gab.errors import GenesysError
from genesys_engine.operators.llm.options import ImplementerOptions
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.targets import path_options

REPOSITORY = Path(__file__).parents[3]
EVERYWHERE = """
[corpus]
use = "mixture"
tokenizer = "tok"
[[corpus.parts]]
paths = ["texts/*.txt", "more.jsonl"]
[[corpus.parts]]
hub = "./hub"
[[corpus.parts]]
hub = "owner/name"
[llm]
use = "llama_cpp"
path = "models/a.gguf"
recording = "calls.jsonl"
[llm.roles.coder]
n_ctx = 4096
[llm.roles.observer]
use = "replay"
path = "../calls.jsonl"
[[operators]]
use = "llm_mutation"
prompts = "prompts"
templates = { coder = "coder.j2" }
[[evaluators]]
use = "heldout"
[[evaluators]]
use = "lm_eval"
tasks = ["offline", "./tasks"]
[knowledge]
base = "base"
[sandbox]
readable = ["data"]
[plugins]
local = ["mine.py"]
[[trackers]]
use = "mlflow"
uri = "./mlruns"
[compare]
proposals = "ideas"
arms = [
  { name = "a", implementer = "gp", options = { prompts = "prompts" } },
  { name = "b", implementer = "direct" },
]
"""
TASK = """task: mine
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{q}}"
doc_to_choice: ["a", "b"]
doc_to_target: 0
metric_list: [{metric: acc}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an experiment and what it names; the working folder is another one."""
    made = tmp_path / "project"
    for name in ("base", "data", "ideas", "prompts", "tasks", "texts", "tok"):
        (made / name).mkdir(parents=True)
    (made / "mine.py").write_text("")
    (made / "coder.j2").write_text("{{ meaning }}")
    (made / "tasks" / "mine.yaml").write_text(TASK)
    (made / "experiment.toml").write_text(EVERYWHERE)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return made


def values(experiment: Experiment) -> dict[str, Any]:
    data = experiment.to_json()
    parts, operator, evaluator = (
        data["corpus"]["parts"], data["operators"][0], data["evaluators"][1],
    )  # fmt: skip
    return {
        "paths": parts[0]["paths"],
        "hubs": [parts[1]["hub"], parts[2]["hub"]],
        "tokenizer": data["corpus"]["tokenizer"],
        "llm": [data["llm"]["path"], data["llm"]["recording"]],
        "roles": [data["llm"]["roles"][role]["path"] for role in ("coder", "observer")],
        "prompts": [operator["prompts"], operator["templates"]["coder"]],
        "tasks": evaluator["tasks"],
        "base": data["knowledge"]["base"],
        "readable": data["sandbox"]["readable"],
        "local": data["plugins"]["local"],
        "uri": data["trackers"][0]["uri"],
        "compare": [
            data["compare"]["proposals"], data["compare"]["arms"][0]["options"]["prompts"],
        ],
    }  # fmt: skip


def test_every_path_of_a_file_is_relative_to_it(folder: Path) -> None:
    experiment = load_experiment(Path("../project/experiment.toml"))
    at = str(folder)
    assert values(experiment) == {
        "paths": [f"{at}/texts/*.txt", f"{at}/more.jsonl"],
        "hubs": [f"{at}/hub", "owner/name"],
        "tokenizer": f"{at}/tok",
        "llm": [f"{at}/models/a.gguf", f"{at}/calls.jsonl"],
        "roles": [f"{at}/models/a.gguf", str(folder.parent / "calls.jsonl")],
        "prompts": [f"{at}/prompts", f"{at}/coder.j2"],
        "tasks": ["offline", f"{at}/tasks"],
        "base": f"{at}/base",
        "readable": [f"{at}/data"],
        "local": [f"{at}/mine.py"],
        "uri": f"{at}/mlruns",
        "compare": [f"{at}/ideas", f"{at}/prompts"],
    }


def test_a_copy_elsewhere_means_the_same_paths_and_is_the_same_experiment(folder: Path) -> None:
    experiment = load_experiment(folder / "experiment.toml")
    copy = Path("copy.toml")
    copy.write_text(EVERYWHERE)
    again = load_experiment(copy, kept_paths(experiment))
    assert values(again) == values(experiment)
    assert again.digest == experiment.digest
    moved = folder.rename(folder.with_name("moved"))
    assert load_experiment(moved / "experiment.toml").digest == experiment.digest


def test_a_path_of_set_is_relative_to_the_working_folder(folder: Path, tmp_path: Path) -> None:
    sets = (
        'corpus.parts.0.paths=["a.txt"]',
        "llm.path=b.gguf",
        'evaluators.1.tasks.1="../project/tasks"',
        'operators.0.templates.coder="coder.j2"',
    )
    (tmp_path / "elsewhere" / "coder.j2").write_text("{{ meaning }}")
    found = values(load_experiment(folder / "experiment.toml", sets))
    here = str(tmp_path / "elsewhere")
    assert found["paths"] == [f"{here}/a.txt"]
    assert found["llm"] == [f"{here}/b.gguf", f"{folder}/calls.jsonl"]
    assert found["roles"][0] == f"{here}/b.gguf"
    assert found["tasks"] == ["offline", f"{folder}/tasks"]
    assert found["prompts"] == [f"{folder}/prompts", f"{here}/coder.j2"]


def test_links_keep_their_names(folder: Path, tmp_path: Path) -> None:
    """As in the cache of the hub, where a name with an ending links to one without."""
    blob = tmp_path / "0123"
    blob.write_text('{"text": "linked"}\n')
    (folder / "linked.jsonl").symlink_to(blob)
    (folder / "one.toml").write_text('[corpus]\nuse = "text"\npaths = "linked.jsonl"\n')
    corpus = load_experiment(folder / "one.toml").corpus
    assert list(open_source(corpus).documents()) == ["linked"]


def test_the_home_folder_is_understood(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (folder / "one.toml").write_text('[corpus]\nuse = "text"\npaths = ["~/a.txt"]\n')
    assert load_experiment(folder / "one.toml").corpus.paths == (f"{tmp_path}/a.txt",)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('[knowledge]\nbase = "none"', "none"),
        ('[plugins]\nlocal = ["none.py"]', "none.py"),
        ('[compare]\nproposals = "none"', "none"),
        ('[sandbox]\nreadable = ["none"]', "none"),
        ('[[evaluators]]\nuse = "lm_eval"\ntasks = ["./none"]', "none"),
        ('[llm]\nuse = "replay"\npath = "x"\n[[operators]]\nuse = "llm_mutation"\nprompts = "none"',
         "none"),
    ],
)  # fmt: skip
def test_an_error_shows_the_whole_path(folder: Path, text: str, path: str) -> None:
    (folder / "one.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_experiment(Path("../project/one.toml"))
    assert any(f"{folder}/{path}" in problem.message for problem in caught.value.problems) or any(
        f"{folder}/{path}" in str(problem) for problem in caught.value.problems
    )


def test_a_missing_text_is_named_whole(folder: Path) -> None:
    (folder / "one.toml").write_text('[corpus]\nuse = "text"\npaths = ["none.txt"]\n')
    with pytest.raises(GenesysError) as caught:
        open_source(load_experiment(folder / "one.toml").corpus)
    assert caught.value.where == f"{folder}/none.txt"


def models() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield every model that reads a table of an experiment."""
    for name, field in Experiment.model_fields.items():
        if (model := model_in(field.annotation)) is not None:
            yield name, model
            for key, inner in model.model_fields.items():
                if (nested := model_in(inner.annotation)) is not None:
                    yield f"{name}.{key}", nested
    yield "compare.arms.options", ImplementerOptions
    registry = PluginHost().registry
    for kind in {*COMPONENTS.values(), LLM_KIND}:
        for name in registry.names(kind):
            if (options := registry.get(kind, name).options_model()) is not None:
                yield f"{kind} {name}", options


NO_PATHS = {
    ("compare.arms", "proposals"),  # how many, or which by name
    ("tracker tensorboard", "folder"),  # in the folder of the run
    ("tracker wandb", "project"),
}


def test_every_option_that_is_called_like_a_path_is_marked_as_one() -> None:
    words = ("path", "folder", "file", "recording", "prompts", "templates", "proposals", "base",
             "local", "readable", "uri", "tokenizer", "hub")  # fmt: skip
    missed = [
        (where, key)
        for where, model in models()
        for key, field in model.model_fields.items()
        if (key in words or key.endswith(("_path", "_file", "_folder", "paths")))
        and key not in path_options(model)
        and (where, key) not in NO_PATHS
        and model_in(field.annotation) is None
        and field.annotation is not bool
    ]
    assert missed == []


def test_arms_name_files_beside_the_study(folder: Path, tmp_path: Path) -> None:
    """A refused study names the whole path of the arm and leaves no folder behind."""
    (folder / "study.toml").write_text(
        '[compare]\nstudy = "evolution"\nseeds = [1]\narms = [{ name = "a" },\n'
        ' { name = "b", sets = ["knowledge.base=none"] }]\n'
    )
    done = engine("compare", "../project/study.toml", "--out", "study")
    assert done.code == 2, done.err
    assert f"{folder}/none" in done.err
    assert not (tmp_path / "elsewhere" / "study").exists()


@pytest.mark.parametrize("command", ["run", "compare"])
def test_a_refusal_leaves_no_folder_behind(folder: Path, tmp_path: Path, command: str) -> None:
    (folder / "study.toml").write_text(
        '[llm]\nuse = "replay"\npath = "none.jsonl"\n[compare]\n'
        f'proposals = "{REPOSITORY / "experiments" / "proposals"}"\narms = [{{ name = "a",'
        ' implementer = "gp" }, { name = "b", implementer = "direct" }]\n'
    )
    done = engine(command, folder / "study.toml", "--out", "out/one")
    assert done.code == 2, done.err
    assert f"{folder}/none.jsonl" in done.err
    assert not (tmp_path / "elsewhere" / "out" / "one").exists()


@pytest.mark.parametrize(
    "file", sorted(REPOSITORY.glob("experiments/*.toml")), ids=lambda f: f.stem
)
def test_the_experiments_of_the_repository_are_valid_from_any_folder(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _, path in load_experiment(file).paths:
        assert path.startswith(str(REPOSITORY / "experiments")) or path == "paper"
        assert Path(path).exists() or path.endswith(".gguf")


def test_data_of_a_task_lie_beside_its_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from genesys_engine.engine.corpus import task_data
    from genesys_engine.plugins.evaluators.task_names import expand

    monkeypatch.setenv("GENESYS_CACHE", str(folder / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (folder / "tasks" / "rows.jsonl").write_text(json.dumps({"q": "which?"}) + "\n")
    names = [str(folder / "tasks")]
    assert (task_data._prepared(names, expand(names), lambda stage: None) / "task-0").is_dir()


def test_no_option_of_a_corpus_is_read_in_the_working_folder(folder: Path) -> None:
    """What is made without a file, as the tests do, is as the shell has it."""
    Path("a.txt").write_text("here")
    assert list(open_source(CorpusOptions(use="text", paths=("a.txt",))).documents()) == ["here"]
