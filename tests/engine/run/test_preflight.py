"""What is cheap to know is said by `validate`, in the words of `run`, and before anything long."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
import torch

from genesys_engine.engine.cli import main
from genesys_engine.engine.run import lifecycle

LADDER = """
[[ladder.rungs]]
scale = "0.2M"
verifications = 4
tokens = 16_384
batch_tokens = 512
noise_seeds = {seeds}
"""
SENTENCE = "The {number}th river flows to the old sea, and nobody ever asked it why it does so.\n"
TASK = """
task: few
dataset_path: json
dataset_kwargs: {data_files: {test: own/rows.jsonl}}
test_split: test
num_fewshot: 12
output_type: loglikelihood
doc_to_text: "{{question}}"
doc_to_target: " yes"
"""


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder and a cache of its own, and no network."""

    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENESYS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def write(text: str, *, seeds: int = 3) -> Path:
    path = Path("e.toml")
    path.write_text('[population]\nseeds = ["gpt"]\n' + text + LADDER.format(seeds=seeds))
    return path


def prose(size: int) -> str:
    """Return about `size` bytes of text."""
    return "".join(SENTENCE.format(number=n) for n in range(1 + size // len(SENTENCE)))


def own_tasks() -> None:
    Path("own").mkdir()
    rows = [{"question": f"Is {i} a number?"} for i in range(12)]
    Path("own/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("own/few.yaml").write_text(TASK)


def broken_base() -> None:
    Path("notes").mkdir()
    Path("notes/a.md").write_text("no base of passages")


def small(size: int) -> None:
    Path("text.txt").write_text(prose(size))


TEXT = '[corpus]\nuse = "text"\npaths = ["text.txt"]\n'
HELDOUT = '[[evaluators]]\nuse = "heldout"\n'
MIXTURE = """
[corpus]
use = "mixture"
[[corpus.parts]]
hub = "a/b"
[[corpus.parts]]
paths = ["mytxts"]
"""
NOWHERE = '[corpus]\nuse = "text"\npaths = ["mytxts"]\n'
CUDA = '[trainer]\ndevice = "cuda"\n'
SHOTS = HELDOUT + '[[evaluators]]\nuse = "lm_eval"\ntasks = ["./own"]\n'
FEW_BYTES = TEXT + "max_bytes = 300\n"
LARGE_BATCH = TEXT + LADDER.format(seeds=1).replace("512", "400_000", 1)
FAULTS = {
    "no such path": (lambda: None, NOWHERE, ["mytxts", "corpus.paths"]),
    "an empty folder": (lambda: Path("text.txt").mkdir(), TEXT, ["no .txt"]),
    "a part of a mixture": (lambda: None, MIXTURE, ["mytxts"]),
    "not fetched": (lambda: None, '[corpus]\nuse = "english"\n', ["data fetch english"]),
    "12 bytes": (lambda: Path("text.txt").write_text("twelve bytes"), TEXT, ["too small"]),
    "no room": (lambda: small(200_000), FEW_BYTES, ["max_bytes"]),
    "one batch": (lambda: small(200_000), LARGE_BATCH, ["too few for one batch of 3125 x 128"]),
    "no CUDA": (lambda: None, CUDA, ["CUDA is asked for"]),
    "shots": (own_tasks, SHOTS, ["few.yaml", "task few asks for 12", "12 documents, 11"]),
    "several": (lambda: None, NOWHERE + CUDA, ["mytxts", "CUDA is asked for", "2 faults"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_by_validate_and_by_run(
    fault: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, text, told = FAULTS[fault]
    make()
    path = write(text)
    if "[[ladder" in text:
        path.write_text('[population]\nseeds = ["gpt"]\n' + text)
    monkeypatch.setattr(lifecycle, "open_executor", lambda *_: pytest.fail("workers were started"))
    assert main(["validate", str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    for part in told:
        assert part in said.err
    assert "help: " in said.err
    assert main(["run", str(path), "--out", "runs/a"]) in (2, 4)
    assert not Path("runs").exists()
    if fault == "a part of a mixture":
        return  # `run` may ask the hub for the other part first
    errors = [line for line in said.err.splitlines() if "genesys-engine: " in line]
    assert errors[0] in capsys.readouterr().err


def test_the_faults_are_listed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    path = write(FAULTS["several"][1])
    assert main(["validate", str(path), "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)["data"]
    assert not answer["valid"]
    places = {Path(problem["source"]).name for problem in answer["problems"]}
    assert places == {"mytxts", "[trainer] device"}
    assert all(problem["hint"] for problem in answer["problems"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    small(200_000)
    Path("text.txt").chmod(0)
    assert main(["validate", str(write(TEXT))]) == 2
    assert "permission denied" in capsys.readouterr().err


def test_a_folder_that_is_no_knowledge_base(capsys: pytest.CaptureFixture[str]) -> None:
    broken_base()
    text = '[llm]\nuse = "grammar"\n[knowledge]\nbase = "notes"\n'
    assert main(["validate", str(write(text))]) == 2
    told = capsys.readouterr().err
    assert "notes: no knowledge base" in told
    assert [entry.name for entry in Path("notes").iterdir()] == ["a.md"], "none was made"


def test_too_little_held_out_for_a_task_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Only where the task is wanted: the same text is enough for bits per byte."""
    small(190_000)
    text = TEXT + "heldout = 0.01\n"
    path = write(text + HELDOUT)
    assert main(["validate", str(path)]) == 0, capsys.readouterr().err
    path = write(text + HELDOUT + '[[evaluators]]\nuse = "lm_eval"\ntasks = ["continuation"]\n')
    assert main(["validate", str(path)]) == 2
    told = capsys.readouterr().err
    assert "the task 'continuation'; at least 8 " in told
    assert "text.txt yield" in told


@pytest.mark.parametrize(("seeds", "told"), [(1, "not measured"), (2, "15.6 times"), (3, "")])
def test_seeds_that_tell_nothing_are_told_before(
    seeds: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("", seeds=seeds)
    assert main(["validate", str(path)]) == 0
    said = capsys.readouterr().err
    assert ("warning: " in said) == bool(told)
    assert told in said
    assert main(["validate", str(path), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["data"]["warnings"]) == bool(told)


def test_nothing_large_is_read_or_prepared(tmp_path: Path) -> None:
    assert main(["validate", str(write(""))]) == 0
    assert not (tmp_path / "cache" / "corpora").exists()


def test_held_out_text_that_trainings_could_read_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text(prose(500_000))
    (tmp_path / "notes").mkdir()
    path = write('[corpus]\nuse = "text"\npaths = ["texts"]\n')
    for opened, warned in (("texts", True), (".", True), ("texts/a.txt", True), ("notes", False)):
        assert main(["validate", str(path), "--set", f'sandbox.readable=["{opened}"]']) == 0
        assert ("sandbox.readable opens" in capsys.readouterr().err) is warned, opened
