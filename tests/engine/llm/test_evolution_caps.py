"""The caps of an evolution study: each ends the runs of every arm, and the study says which did.

Real runs over a real server on loopback: training on the processor, replies with a price.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, says
from engine_process import engine, here, write_experiment
from exhaustive import exhaustive

ASKING = Path(__file__).with_name("asking.py")
STUDY = """
[[operators]]
use = "asking"
max_tokens = 24
[trainer]
device = "cpu"
[llm]
use = "litellm"
model = "openai/tiny"
api_base = "{address}"
input_usd_per_million = 1_000_000.0
output_usd_per_million = 1_000_000.0
[plugins]
local = ["{asking}"]
[compare]
study = "evolution"
seeds = [1]
{cap}
[[compare.arms]]
name = "quadrant"
[[compare.arms]]
name = "random"
sets = ["selection.use=random"]
"""
CAPS = {
    "tokens": ("tokens = 700", "llm_tokens", 700),
    "usd": ("usd = 700.0", "llm_usd", 700),
    "device_hours": ("device_hours = 1e-7", "device_s", None),
    "wall_hours": ("wall_hours = 1e-7", "wall_s", None),
}
BUDGETS = {"tokens": "llm_tokens", "usd": "llm_usd"}


def compared(folder: Path, cap: str, *sets: str) -> tuple[Any, list[dict[str, Any]]]:
    """Return the answer of a study under a cap, and what it says of the arms."""
    with ChatServer(says("a word")) as server:
        more = STUDY.format(address=server.url, asking=ASKING, cap=cap)
        file = write_experiment(folder, verifications=3, designs=3, more=more)
        words = [word for each in sets for word in ("--set", each)]
        answer = engine("compare", file, "--out", folder / "study", "--json", *words)
    return answer, json.loads(answer.out)["data"]["arms"] if answer.out else []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", exhaustive(CAPS, but=("tokens", "wall_hours")))
def test_a_cap_ends_the_runs_of_every_arm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("GENESYS_CACHE", str(tmp_path / "cache"))
    cap, used, most = CAPS[name]
    answer, arms = compared(tmp_path, cap)
    assert answer.code == 0, answer.err
    for arm in arms:
        assert arm["caps"] == {f"budget.{BUDGETS.get(name, name)}": 1}
        assert arm["used"][used] > 0
        assert most is None or arm["used"][used] <= most
    database = tmp_path / "study" / "runs" / "quadrant-seed-1" / "run.sqlite"
    with sqlite3.connect(database) as db:
        (done,) = db.execute("SELECT COUNT(*) FROM verifications").fetchone()
    if name == "device_hours":
        assert done >= 1
        assert arms[0]["device"] == ["cpu"]
        told = here("status", database.parent)
        assert "device hours" in told.out
    if name == "wall_hours":  # what a cap ended counts as it stands: caps cannot be moved under it
        again, _ = compared(tmp_path, cap, "compare.wall_hours=900")
        again.refused(2, "the experiment has changed")


def test_an_arm_has_no_cap_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "tiny.toml"
    arms = '[[compare.arms]]\nname = "a"\n[[compare.arms]]\nname = "b"\n'
    own = 'sets = ["budget.wall_hours = 3"]\n'
    file.write_text(f'[compare]\nstudy = "evolution"\n{arms}{own}')
    answer = here("compare", file, "--out", tmp_path / "study")
    answer.refused(2, ":7:8: ", "'b' sets budget.wall_hours")


def test_an_implementation_study_has_no_device_hours(tmp_path: Path) -> None:
    file = tmp_path / "tiny.toml"
    arms = "".join(
        f'[[compare.arms]]\nname = "{n}"\nimplementer = "{n}"\n' for n in ("gp", "direct")
    )
    file.write_text(f'[llm]\nuse = "grammar"\n[compare]\ndevice_hours = 1.0\n{arms}')
    answer = here("compare", file, "--out", tmp_path / "study")
    answer.refused(2, "trains nothing", "cap the arms by tokens, usd or wall_hours")
