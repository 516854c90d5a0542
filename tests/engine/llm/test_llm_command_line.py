"""The command line with language models: told before spending, stopped at once, shown after."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from chat_server import ChatServer, answers
from engine_process import ask, ended, engine, here, interrupt, started, wait_for, write_experiment

LLM = """
[[operators]]
use = "asking"
[llm]
use = "litellm"
model = "{model}"
{more}
[plugins]
local = ["{asking}"]
"""


def experiment(folder: Path, model: str, more: str = "") -> Path:
    asking = Path(__file__).with_name("asking.py")
    text = LLM.format(model=model, more=more, asking=asking)
    return write_experiment(folder, verifications=2, designs=1, more=text)


def test_a_missing_key_is_reported_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    file = experiment(tmp_path, "openai/gpt-4o-mini")
    told = ("OPENAI_API_KEY is not set", "help: export OPENAI_API_KEY")
    here("run", file, "--out", tmp_path / "run").refused(2, *told)
    assert not (tmp_path / "run").exists()
    answer = here("validate", file, "--json")
    assert answer.code == 2
    (problem,) = json.loads(answer.out)["data"]["problems"]
    assert "OPENAI_API_KEY" in problem["message"]


def test_a_cap_without_a_price_is_reported_before_anything_starts(tmp_path: Path) -> None:
    file = experiment(tmp_path, "openai/tiny", 'api_base = "http://127.0.0.1:9/v1"')
    answer = here("run", file, "--out", tmp_path / "run", "--set", "budget.llm_usd=1.0")
    answer.refused(2, "is unknown", "input_usd_per_million")


@pytest.mark.slow
def test_two_interruptions_end_it_although_a_service_hangs(tmp_path: Path) -> None:
    hang = threading.Event()
    run = tmp_path / "run"
    with ChatServer(lambda handler: hang.wait(60)) as server:
        file = experiment(tmp_path, "openai/tiny", f'api_base = "{server.url}"')
        with started("run", file, "--out", run) as process:
            wait_for(lambda: server.asked, process)
            since = time.monotonic()
            interrupt(process)
            time.sleep(0.1)
            interrupt(process)
            answer = ended(process)
            assert answer.code == 130, answer.err
            assert time.monotonic() - since < 30.0  # the call alone may take 60
        hang.set()
    with ChatServer(answers) as server:
        more = ["--set", f'llm.api_base="{server.url}"']
        resumed = engine("resume", run, *more)
        assert resumed.code in (0, 1), resumed.err
        assert server.asked
    assert ask(run, "SELECT COUNT(*) FROM llm_calls")[0][0] == len(server.asked)
    told = here("status", run)
    assert "coder" in told.out
    assert "unknown" in told.out  # the price of "tiny"
    shown = json.loads(here("status", run, "--json").out)["data"]["llm"]
    assert shown["total"]["usd"] is None
    assert set(shown["models"].values()) == {'litellm {"model":"openai/tiny"}'}
    assert "Language models" in (run / "report.html").read_text()
