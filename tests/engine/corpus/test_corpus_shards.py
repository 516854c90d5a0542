"""Encoding in parts: the same for any number of processes, taken up after a kill, looked at."""

import errno
import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import commands
import pytest

from genesys_engine.engine.corpus import CorpusOptions, encode, prepare
from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.corpus import Corpus
from genesys_engine.plugins.sandbox import starting

OPTIONS = CorpusOptions(max_bytes=500_000, vocab_size=400, heldout=0.2)
ELSEWHERE = """
import sys
from pathlib import Path
from genesys_engine.engine.corpus import CorpusOptions, encode, prepare

if __name__ == "__main__":
    encode.PART_CHARACTERS = 15_000
    options = CorpusOptions(max_bytes=500_000, vocab_size=400, heldout=0.2)
    prepare(options, Path(sys.argv[1]), processes=2)
"""


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(encode, "PART_CHARACTERS", 15_000)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The corpus as one process makes it, in one part per split."""
    return prepare(OPTIONS, tmp_path_factory.mktemp("alone"), processes=1)


class Killed(BaseException):
    """Stands for a process that ends at once."""


def killed_at(word):
    def stop(stage):
        if word in stage:
            raise Killed

    return stop


def looking(folder, seen):
    """Note the parts that lie in the working folder when they are complete."""

    def look(stage):
        if "bigram" in stage:
            (parts,) = folder.glob(".preparing-*/parts")
            seen.update({path.name: path.stat().st_mtime_ns for path in parts.iterdir()})

    return look


def test_processes_and_parts_do_not_change_the_corpus(alone, tmp_path):
    seen = {}
    folder = prepare(OPTIONS, tmp_path, looking(tmp_path, seen), processes=2)
    assert len(seen) > 30
    assert (folder / "manifest.json").read_bytes() == (alone / "manifest.json").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_an_interrupted_preparation_is_resumed_where_it_was(alone, tmp_path):
    with pytest.raises(Killed):
        prepare(OPTIONS, tmp_path, killed_at("bigram"), processes=1)
    (parts,) = tmp_path.glob(".preparing-*/parts")
    first = {path.name: path.stat().st_mtime_ns for path in parts.iterdir()}
    damaged = parts / "train-00003.bin"
    damaged.write_bytes(damaged.read_bytes()[:-2] + b"\0\0")
    (parts / "train-00005.json").unlink()
    seen, stages = {}, []

    def watch(stage):
        stages.append(stage)
        looking(tmp_path, seen)(stage)

    folder = prepare(OPTIONS, tmp_path, watch, processes=1)
    again = {name.partition(".")[0] for name in seen if seen[name] != first[name]}
    assert again == {"train-00003", "train-00005"}
    assert not any("tokenizer" in stage for stage in stages)
    assert (folder / "manifest.json").read_bytes() == (alone / "manifest.json").read_bytes()


@pytest.mark.parametrize(
    "error",
    [
        EnvironmentProblem("cannot be read from the hub"),
        OSError(errno.ENOSPC, "No space left on device"),
        MemoryError(),
    ],
)
def test_what_the_machine_interrupts_is_resumed_too(alone, tmp_path, error):
    def fail(stage):
        if "bigram" in stage:
            raise error

    with pytest.raises((EnvironmentProblem, MemoryError)) as caught:
        prepare(OPTIONS, tmp_path, fail, processes=1)
    if isinstance(error, OSError):
        assert "encoded parts are kept" in str(caught.value)
    taken_up(alone, tmp_path)


def test_a_process_that_is_killed_costs_no_finished_part(alone, tmp_path, monkeypatch):
    monkeypatch.setattr(encode, "TELL_EVERY_S", 0.0)

    def kill(stage):
        if stage.startswith("encoding: "):
            for process in multiprocessing.active_children():
                process.kill()

    with pytest.raises(EnvironmentProblem, match="encoded parts are kept"):
        prepare(OPTIONS, tmp_path, kill, processes=2)
    taken_up(alone, tmp_path)


def taken_up(alone, cache):
    """Check that the next attempt encodes no part again that is finished."""
    notes = {path: path.stat().st_mtime_ns for path in cache.glob(".preparing-*/parts/*.json")}
    assert notes
    seen = {}
    folder = prepare(OPTIONS, cache, looking(cache, seen), processes=1)
    assert all(seen[path.name] == at for path, at in notes.items())
    assert (folder / "manifest.json").read_bytes() == (alone / "manifest.json").read_bytes()
    assert [path.name for path in cache.iterdir()] == [folder.name]


@pytest.mark.parametrize("times", [2, 99])
def test_a_process_that_is_refused_is_started_again(alone, tmp_path, monkeypatch, times):
    real, left = multiprocessing.util.spawnv_passfds, [errno.EAGAIN] * times

    def start(*arguments):
        if left:
            raise OSError(left.pop(), "refused")
        return real(*arguments)

    monkeypatch.setattr(multiprocessing.util, "spawnv_passfds", start)
    monkeypatch.setattr(starting, "PAUSES_S", (0.0, 0.0, 0.0))
    if times > 3:
        with pytest.raises(EnvironmentProblem, match=r"cannot be started: .* refused"):
            prepare(OPTIONS, tmp_path, processes=2)
    else:
        folder = prepare(OPTIONS, tmp_path, processes=2)
        assert (folder / "manifest.json").read_bytes() == (alone / "manifest.json").read_bytes()


def test_kill_9_in_the_middle_loses_no_finished_part(alone, tmp_path):
    script = tmp_path / "prepare_elsewhere.py"
    script.write_text(ELSEWHERE)
    cache = tmp_path / "cache"
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = commands.start(
        [sys.executable, str(script), str(cache)], env=environment, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 120
        while len(list(cache.glob(".preparing-*/parts/*.json"))) < 3:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not list(cache.glob("corpus-*"))
    deadline = time.monotonic() + 60
    while alive(process.pid):
        assert time.monotonic() < deadline, "a process outlived its parent"
        time.sleep(0.05)
    notes = {path: path.stat().st_mtime_ns for path in cache.glob(".preparing-*/parts/*.json")}
    seen = {}
    folder = prepare(OPTIONS, cache, looking(cache, seen), processes=1)
    assert len(notes) >= 3
    assert all(seen[path.name] == at for path, at in notes.items())
    assert (folder / "manifest.json").read_bytes() == (alone / "manifest.json").read_bytes()


def alive(session):
    """Tell whether any process of a session is left."""
    found = commands.run(["ps", "-o", "pid=", "-s", str(session)])
    return bool(found.stdout.strip())


def test_a_second_process_waits_and_finds_the_corpus(alone, tmp_path):
    script = tmp_path / "prepare_elsewhere.py"
    script.write_text(ELSEWHERE)
    cache = tmp_path / "cache"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    other = commands.start([sys.executable, str(script), str(cache)], env=environment)
    while not list(cache.glob(".preparing-*")):
        time.sleep(0.002)
    stages = []
    folder = prepare(OPTIONS, cache, stages.append)
    stages = [stage for stage in stages if not stage.startswith("reading the corpus:")]
    assert stages == [  # and how far it was with reading, where that took long
        "reading the corpus",
        "waiting for another process that prepares this corpus",
    ]
    assert other.wait() == 0
    Corpus.open(folder).check()
    assert [path.name for path in cache.iterdir()] == [folder.name]


def test_progress_is_reported_while_it_encodes(tmp_path, monkeypatch):
    monkeypatch.setattr(encode, "TELL_EVERY_S", 0.0)
    stages = []
    prepare(OPTIONS, tmp_path, stages.append, processes=1)
    shares = [int(s.split()[1]) for s in stages if s.startswith("encoding: ")]
    assert len(shares) > 10
    assert shares == sorted(shares)
    assert shares[-1] == 100


def test_the_manifest_counts_what_was_encoded(alone):
    manifest = json.loads((alone / "manifest.json").read_text())
    corpus = Corpus.open(alone)
    for split, stream in (("train", corpus.train), ("heldout", corpus.heldout)):
        counts = manifest["splits"][split]
        assert counts["tokens"] == len(stream)
        assert counts["documents"] == int((stream == corpus.end_of_text).sum())
        assert counts["bytes"] == int(corpus.byte_lengths[stream].sum())
