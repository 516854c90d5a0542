"""The studies of the repository: what is replayed is what was recorded."""

import json
import lzma
import subprocess
import sys
from pathlib import Path

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
    same = live.model_copy(update={"llm": replayed.llm})
    assert study_digest(replayed) == study_digest(same)


def test_the_recording_is_small_enough_for_the_repository():
    assert RECORDING.stat().st_size < 3_000_000


def test_the_recording_names_no_folder_of_the_machine_that_made_it():
    """A prompt with a path of one machine would be another prompt on the next."""
    text = lzma.decompress(RECORDING.read_bytes()).decode()
    assert "site-packages" not in text
    assert "lib/python" not in text


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_first_proposal_is_replayed_without_a_model(tmp_path):
    """What asks must not have changed since the recording was made."""
    only = [f"--set=compare.arms.{number}.proposals=1" for number in range(4)]
    command = [*ENGINE, "compare", str(REPLAYED), "--out", str(tmp_path / "study"), "--json", *only]
    tables = []
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        tables.append(done.stdout)
    assert tables[0] == tables[1]
    arms = json.loads(tables[0])["data"]["arms"]
    assert [arm["n"] for arm in arms[:4]] == [1, 1, 1, 1]
    assert all(arm["tokens"] > 0 for arm in arms[:4])
