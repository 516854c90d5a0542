"""Every command says through a pipe that it is at work, long ones how much is left of it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import commands
import pytest
from engine_process import engine, here, write_experiment
from exhaustive import exhaustive
from service import ARXIV, serving

from genesys_engine.engine.common.steps import Steps
from genesys_engine.plugins.knowledge.documents import Document
from genesys_engine.plugins.knowledge.sources.folder import FolderSource


class Clock:
    """A clock that stands still until it is put on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_steps_tell_the_time_left_from_what_is_done() -> None:
    said: list[str] = []
    clock = Clock()
    steps = Steps(said.append, 3, clock=clock)
    steps.next("measuring", "gpt")
    clock.now += 10
    steps.next("measuring", "ttt")
    clock.now += 20
    steps.next("measuring", "retnet", most_s=4)
    assert said == [
        "measuring 1/3: gpt",
        "measuring 2/3: ttt, about 20 s left",
        "measuring 3/3: retnet, about 4 s left",
    ]


def test_steps_of_different_sizes_weigh_by_their_size() -> None:
    clock = Clock()
    steps = Steps(lambda line: None, 100, clock=clock)
    assert steps.left_s() is None
    steps.done(0)  # known already: takes no time and tells nothing
    assert steps.left() == ""
    clock.now += 5
    steps.done(9)
    assert steps.left_s() is None, "too early"
    steps.done(1)
    assert (steps.left_s(), steps.share) == (45.0, 0.1)
    steps.done(90)
    assert (steps.left(), steps.share) == ("", 1.0)


def test_short_parts_are_held_back_to_a_line_now_and_then() -> None:
    said: list[str] = []
    clock = Clock()
    steps = Steps(said.append, 10, every_s=2.0, clock=clock)
    for number in range(10):
        steps.next("writing", f"part {number}")
        clock.now += 0.7
    assert [line.partition(":")[0] for line in said] == [
        "writing 4/10", "writing 7/10", "writing 10/10",
    ]  # fmt: skip


COMMANDS = (("validate", "--json"), ("doctor", "--json"))


@contextmanager
def piped(*words: object, home: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the command with pipes."""
    process = commands.start(
        [sys.executable, "-m", "genesys_engine", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "GENESYS_KNOWLEDGE": str(home), "GENESYS_CACHE": str(home / "cache")},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    "words", exhaustive((*COMMANDS, ("validate",)), but=COMMANDS), ids=" ".join
)
def test_the_first_words_come_before_the_work_is_done(words: Sequence[str], tmp_path: Path) -> None:
    """The experiment is a pipe: the command cannot go on before the test has read its words."""
    text = write_experiment(tmp_path).read_text()
    file = tmp_path / "experiment.toml"
    os.mkfifo(file)
    with piped(*words, file, home=tmp_path) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"genesys-engine {words[0]}: starting\n"
        with file.open("w") as end:
            end.write(text)
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert out.startswith("{" if "--json" in words else str(file))


def test_knowledge_says_what_it_reads_before_the_service_has_answered(tmp_path: Path) -> None:
    """The answer is held back until the words were read."""
    read = threading.Event()
    with serving() as service:
        service.will(ARXIV)
        answered = service.answer

        def held(request: object, body: str) -> object:
            read.wait(60)
            return answered(request, body)

        service.answer = held
        words = ("knowledge", "add", "arxiv:2405.21060", "--set", f"arxiv.url={service.url}")
        with piped(*words, "--json", home=tmp_path) as process:
            assert process.stderr is not None
            while (line := process.stderr.readline()) != "reading arxiv:2405.21060\n":
                assert line, "it ended without these words"
            read.set()
            out, _ = process.communicate(timeout=120)
    assert json.loads(out)["data"]["new"] == 1


def test_reading_a_large_file_tells_how_much_is_read(tmp_path: Path) -> None:
    rows = [{"id": str(n), "title": f"note {n}", "text": "zebra " * 50} for n in range(400)]
    lines = "\n".join(map(json.dumps, rows))
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "c.md").write_text("# Note\n\nzebra")
    source, shares = FolderSource(), list[float]()
    for document in source.fetch(str(tmp_path)):
        assert isinstance(document, Document)
        shares.append(source.share)
    assert len(shares) == 801
    assert shares == sorted(shares)
    assert (len(set(shares)) > 3, shares[-1]) == (True, 1.0)


def test_a_calibration_tells_the_time_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENESYS_CACHE", str(tmp_path / "cache"))  # nothing is known there
    file = write_experiment(tmp_path, verifications=3)
    answer = engine("calibrate", file, "--seeds", 2, "--json")
    assert answer.code == 0, answer.err
    json.loads(answer.out)
    lines = answer.err.splitlines()
    (begun,) = [n for n, line in enumerate(lines) if line == "training gpt with 2 seeds"]
    trained = lines[begun + 1 : begun + 3]
    assert [" left" in line for line in trained] == [True, False], lines
    again = here("calibrate", file, "--seeds", 2)
    assert sum("(known)" in line for line in again.err.splitlines()) == 2
    assert " left" not in again.err
