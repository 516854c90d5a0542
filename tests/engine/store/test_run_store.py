"""The store: durable, exclusive, small, and clear about what is wrong."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import commands
import pytest
import zarr
from stored import NOTHING_DONE, design_report, design_task, score

from genesys_engine.engine.jobs.results import VerifyResult
from genesys_engine.engine.store.curves import ARRAYS, POINTS, ROWS_PER_CHUNK
from genesys_engine.engine.store.event_types import BestChanged, RungOpened, RunResumed, WorkerLost
from genesys_engine.engine.store.events import digest_events
from genesys_engine.engine.store.run_store import DesignRow, Store, VerificationRow
from genesys_engine.gab.errors import EnvironmentProblem, InputError

TREE = {"format": 1, "units": {"A": "class A: ..."}, "root": {"unit": "A"}}


def design(number: int, **changes: object) -> DesignRow:
    values = {
        "id": number,
        "seq": number,
        "accepted": True,
        "digest": f"digest {number}",
        "fingerprint": f"fingerprint {number}",
        "parents": (0, 1),
        "operator": "insertion",
        "change": "Inserted a norm.",
        "parameters": 1e5,
        "flops": 6e5,
    }
    return DesignRow(**{**values, **changes})  # type: ignore[arg-type]


def verification(number: int, **changes: object) -> VerificationRow:
    values = {
        "id": number,
        "seq": number,
        "design": 0,
        "rung": 0,
        "replicate": 0,
        "status": "ok",
        "reason": "",
        "fitness": 1.5,
        "scores": {"bits_per_byte": score(2.0)},
        "controls": {},
        "tokens": 100,
        "facts": {"train_s": 1.0},
    }
    return VerificationRow(**{**values, **changes})  # type: ignore[arg-type]


def test_rows_come_back_as_they_went_in(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run", {"name": "test"}) as store:
        store.curves.allocate(2)
        with store.transaction():
            store.add_design(design(0), TREE, design_report({"layers": 3}))
            store.add_verification(verification(0), [[10.0, 5.5], [20.0, 5.0]])
            store.set_standing(0, 0, 1.5)
            store.add_task(0, design_task("gpt"))
    with Store.open(tmp_path / "run") as store:
        assert store.design(0) == design(0, rung=0, fitness=1.5)
        assert store.tree(0) == TREE
        assert store.report(0) == design_report({"layers": 3})
        assert next(store.tasks()).task == design_task("gpt")
        assert list(store.verifications(0)) == [verification(0)]
        assert store.curves.read(0) == [(10.0, 5.5), (20.0, 5.0)]
        assert store.curves.read(1) == [], "an unwritten row is NaN and shows as nothing"
        assert store.meta("name") == "test"


def test_a_unit_is_stored_once(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run", {}) as store, store.transaction():
        for number in range(5):
            store.add_design(design(number), TREE, design_report())
    db = sqlite3.connect(tmp_path / "run" / "run.sqlite")
    assert db.execute("SELECT COUNT(*) FROM units").fetchone() == (1,)


def test_leaderboard_puts_the_higher_rung_first(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run", {}) as store, store.transaction():
        for number, (rung, fitness) in enumerate([(0, 9.0), (1, 1.0), (1, 2.0), (None, None)]):
            store.add_design(design(number, rung=rung, fitness=fitness), TREE, design_report())
        store.add_design(design(4, accepted=False), TREE, design_report())
        assert [row.id for row in store.leaderboard()] == [2, 1, 0]
        assert [row.id for row in store.leaderboard(1)] == [2]


def fail_in_the_middle(store: Store) -> None:
    with store.transaction():
        store.add_task(0, design_task())
        store.add_event(RunResumed())
        raise RuntimeError


def test_a_failed_step_leaves_nothing(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run", {}) as store:
        with pytest.raises(RuntimeError):
            fail_in_the_middle(store)
        assert store.count("tasks") == store.count("events") == 0


def test_a_result_is_paid_for_once(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run", {}) as store, store.transaction():
        store.add_task(0, design_task())
        store.add_result(0, NOTHING_DONE, {})
        with pytest.raises(AssertionError):
            store.add_result(0, NOTHING_DONE, {})


def test_nan_never_reaches_the_log(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run", {}) as store, pytest.raises(ValueError, match="float"):
        store.add_event(BestChanged(design=0, rung=0, fitness=math.nan))


def test_the_digest_leaves_out_what_does_not_decide(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run", {}) as store, store.transaction():
        store.add_event(RungOpened(rung=0, scale="1M"))
        before = digest_events(store.events())
        store.add_event(WorkerLost(seq=0, reason=str(os.getpid())), decisive=False)
        assert digest_events(store.events()) == before
        store.add_event(RungOpened(rung=1, scale="4M"))
        assert digest_events(store.events()) != before
        assert [event.kind for event in store.events(after=1)] == ["worker.lost", "rung.opened"]


def test_two_writers_are_refused_and_readers_are_not(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run", {}) as store, store.transaction():
        store.add_event(RunResumed())
        with pytest.raises(EnvironmentProblem, match="another process"):
            Store.open(tmp_path / "run", write=True)
        with Store.open(tmp_path / "run") as reader:
            assert reader.count("events") == 0, "not committed yet"


@pytest.mark.parametrize("what", ["run", "file", "full folder"])
def test_an_occupied_folder_is_refused_untouched(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "run"
    if what == "run":
        Store.create(folder, {}).close()
    elif what == "file":
        folder.write_text("mine")
    else:
        folder.mkdir()
        (folder / "mine").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="run"):
        Store.create(folder, {})
    assert sorted(tmp_path.rglob("*")) == before


def test_no_run_another_format_and_a_broken_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run here"):
        Store.open(tmp_path)
    with Store.create(tmp_path / "new", {}) as store, store.transaction():
        store.set_meta("format", 99)
    with pytest.raises(InputError, match="format 99"):
        Store.open(tmp_path / "new")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(InputError, match="is damaged"):
        Store.open(tmp_path / "broken")


@pytest.mark.parametrize("left", ["nothing", "a folder", "a group", "a folder for the array"])
def test_an_array_that_a_kill_left_half_made_is_made_again(tmp_path: Path, left: str) -> None:
    group = tmp_path / "run" / ARRAYS
    with Store.create(tmp_path / "run", {}) as store:
        if left != "nothing":
            group.mkdir()
        if left in ("a group", "a folder for the array"):
            zarr.open_group(group, mode="a")
        if left == "a folder for the array":
            (group / "curves").mkdir()
        assert not store.curves.allocated
        store.curves.allocate(2)
        assert store.curves.allocated
        store.curves.show(1, [(10.0, 5.5)])
    with Store.open(tmp_path / "run") as store:
        assert store.curves.allocated
        assert store.curves.read(1) == [(10.0, 5.5)]


def test_curves_longer_than_the_array_are_cut_and_rows_grow(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run", {}) as store:
        store.curves.allocate(1)
        long = [[float(i), 1.0] for i in range(POINTS + 50)]
        with store.transaction():
            store.add_verification(verification(3), long)
        assert len(store.curves.read(3)) == POINTS


def test_curves_move_to_the_array_a_chunk_at_a_time(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run", {}) as store:
        store.curves.allocate(ROWS_PER_CHUNK)
        for number in range(ROWS_PER_CHUNK + 1):
            with store.transaction():
                store.add_verification(verification(number), [[10.0, float(number)]])
            store.curves.write_full_chunk()
            with Store.open(tmp_path / "run") as reader:
                assert reader.curves.read(number) == [(10.0, float(number))]
        chunks = list((tmp_path / "run" / "arrays.zarr" / "curves" / "c").rglob("0"))
        assert len([path for path in chunks if path.is_file()]) == 1
    with Store.open(tmp_path / "run") as reader:
        kept = [reader.curves.read(number) for number in range(ROWS_PER_CHUNK + 1)]
    assert kept == [[(10.0, float(number))] for number in range(ROWS_PER_CHUNK + 1)]


def test_what_was_committed_survives_kill_minus_nine(tmp_path: Path) -> None:
    code = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from genesys_engine.engine.jobs.results import VerifyResult
        from genesys_engine.engine.jobs.tasks import VerifyTask
        from genesys_engine.engine.store.run_store import Store
        store = Store.create(Path(sys.argv[1]), {})
        with store.transaction():
            store.add_task(0, VerifyTask(0, 0, 0))
            store.add_result(0, VerifyResult("ok"), {})
        store.add_task(1, VerifyTask(0, 0, 1))     # begun, not committed
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    done = commands.run([sys.executable, "-c", code, str(tmp_path / "run")])
    assert done.returncode == -signal.SIGKILL
    with Store.open(tmp_path / "run", write=True) as store:
        assert [(row.seq, row.result) for row in store.tasks()] == [(0, VerifyResult("ok"))]


def test_of_processes_that_begin_in_one_folder_one_gets_it_and_nobody_clears_another_s(
    tmp_path: Path,
) -> None:
    """Every second winner is refused before it starts and clears its folder, which others enter."""
    code = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        from genesys_engine.engine.store.run_store import Store
        from genesys_engine.gab.errors import GenesysError
        parent, me, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
        sys.stdout.write("ready\\n"); sys.stdout.flush()
        sys.stdin.readline()
        tried = 0
        for number in range(rounds):
            while True:
                try:
                    store = Store.create(parent / str(number), {"owner": me}, b"text")
                except GenesysError:
                    if Store.exists(parent / str(number)):
                        break
                    continue
                tried += 1
                with store:
                    assert store.meta("owner") == me
                    if tried % 2:
                        store.discard()
                        continue
                    with store.transaction():
                        store.set_meta("won", [*store.meta("won", []), me])
                break
        """
    )
    rounds, words = 12, [sys.executable, "-c", code, str(tmp_path)]
    processes = [
        commands.start(
            [*words, str(me), str(rounds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for me in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    assert [process.wait(120) for process in processes] == [0, 0]
    for number in range(rounds):
        with Store.open(tmp_path / str(number)) as store:
            assert store.meta("won") == [store.meta("owner")]
        names = {entry.name for entry in (tmp_path / str(number)).iterdir()}
        assert {"run.sqlite", "experiment.toml", "lock"} <= names


@pytest.mark.parametrize("made_before", [False, True])
def test_what_is_discarded_leaves_what_was_there_before(tmp_path: Path, made_before: bool) -> None:
    folder = tmp_path / "run"
    if made_before:
        folder.mkdir()
    with Store.create(folder, {}, b"text") as store:
        store.curves.allocate(2)
        store.discard()
    assert list(tmp_path.iterdir()) == [folder] * made_before
    assert not made_before or not list(folder.iterdir())
    Store.create(folder, {}).close()
