"""The studies of the repository: what is replayed is what was recorded."""

import json
import lzma
import sys
from pathlib import Path
from typing import Any

import commands
import pytest

from genesys_engine.engine.compare.session import study_digest
from genesys_engine.engine.config import load_experiment

ROOT = Path(__file__).parents[2]
REPLAYED = ROOT / "experiments" / "gp_vs_direct.toml"
LIVE = ROOT / "experiments" / "gp_vs_direct_live.toml"
RECORDING = ROOT / "experiments" / "recordings" / "gp_vs_direct.jsonl.xz"
ENGINE = [sys.executable, "-m", "genesys_engine"]


def test_the_replayed_study_is_the_recorded_one_but_for_who_answers():
    replayed, live = load_experiment(REPLAYED), load_experiment(LIVE)
    recorded = live.compare.model_copy(update={"checks": replayed.compare.checks})
    same = live.model_copy(update={"llm": replayed.llm, "compare": recorded})
    assert study_digest(replayed) == study_digest(same)


def test_the_recording_is_small_enough_for_the_repository():
    assert RECORDING.stat().st_size < 3_000_000


def test_the_recording_names_no_folder_of_the_machine_that_made_it():
    """A prompt with a path of one machine would be another prompt on the next."""
    text = lzma.decompress(RECORDING.read_bytes()).decode()
    assert "site-packages" not in text
    assert "lib/python" not in text


def replay(study: Path, *sets: str) -> dict[str, Any]:
    """Return what the replayed study says as JSON."""
    command = [*ENGINE, "compare", str(REPLAYED), "--out", str(study), "--json", *sets]
    done = commands.run(command, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_that_was_recorded_is_replayed_without_a_model(tmp_path):
    """What asks must not have changed since the recording was made, on no machine."""
    data = replay(tmp_path / "study")["data"]
    wanted = {arm.name: arm.proposals for arm in load_experiment(REPLAYED).compare.arms}
    for arm in data["arms"]:
        given = wanted[arm["arm"]]
        met = len(given) if isinstance(given, tuple) else given
        assert arm["n"] == (24 if met is None else met), arm["arm"]
        assert arm["tokens"] > 0


ONE_EACH = [f"--set=compare.arms.{number}.proposals=1" for number in range(8)]


@pytest.mark.slow
def test_one_proposal_of_each_arm_is_replayed(tmp_path):
    data = replay(tmp_path / "study", *ONE_EACH)["data"]
    assert {arm["n"] for arm in data["arms"]} == {1}
    assert all(arm["tokens"] > 0 for arm in data["arms"])


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_same_table_comes_twice(tmp_path):
    one, other = (replay(tmp_path / name, *ONE_EACH)["data"] for name in ("one", "other"))
    assert one == other
