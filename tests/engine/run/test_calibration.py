"""Calibration: sigma is the spread over seeds, kept under all that decides it, and used again."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from engine_process import Answer, ask, digest, engine, here, write_experiment

from genesys_engine.engine.corpus.prepared import PreparedCorpus
from genesys_engine.engine.evaluate.noise_cache import NoiseCache
from genesys_engine.engine.evaluate.verifier import verification_job
from genesys_engine.engine.jobs.results import VerifyResult
from genesys_engine.engine.jobs.scores import Score
from genesys_engine.engine.jobs.worker_jobs import Budget, ComponentSpec, TrainJob, VerifyJob
from genesys_engine.engine.run.assembly import load, noise_cache
from genesys_engine.gab.scales import ModelConfig

MODEL = ModelConfig(64, 1, 300, 64)
VERSIONS = {"torch": "2.13.0"}
EVALUATOR = ComponentSpec("c:D", {"limit": 3, "data": "/x"}, "lm_eval")
TRAINING = TrainJob(
    "class Block: ...",
    MODEL,
    "/here/corpus-1",
    5,
    Budget(1000, 100, 1e-3),
    ComponentSpec("a:B", {}),
)
JOB = VerifyJob(TRAINING, (EVALUATOR,))
RESULT = VerifyResult(
    "ok",
    scores={"bits_per_byte": Score(2.5, 0.1, False, 4)},
    curve=((1.0, 7.0),),
    tokens=1000,
    steps=2,
    parameters=9,
)


def test_a_key_holds_what_decides_a_training_and_nothing_else(tmp_path: Path) -> None:
    cache = NoiseCache(tmp_path, "digest", VERSIONS)
    key = cache.key(JOB, accelerator=False)
    elsewhere = replace(EVALUATOR, options={"limit": 3, "data": "/y"})
    moved = VerifyJob(replace(TRAINING, corpus="/there"), (elsewhere,))
    assert cache.key(moved, accelerator=False) == key
    others = [
        replace(JOB, evaluators=()),
        JOB.with_budget(2000, 100),
        *(
            replace(JOB, training=replace(TRAINING, **other))
            for other in (
                {"source": "class Other: ..."},
                {"seed": 6},
                {"trainer": ComponentSpec("a:B", {"lr": 1})},
            )
        ),
    ]
    for other in others:
        assert cache.key(other, accelerator=False) != key, other
    assert cache.key(JOB, accelerator=True) != key
    assert NoiseCache(tmp_path, "other", VERSIONS).key(JOB, accelerator=False) != key
    assert NoiseCache(tmp_path, "digest", {"torch": "3"}).key(JOB, accelerator=False) != key


PLUGIN = """
from genesys_engine.plugins import api

class Constant:
    def evaluate(self, model, corpus):
        return {"constant": api.Score(1.0, None, higher_is_better=True, n=1)}

@api.hookimpl
def genesys_register_evaluators(register):
    register("constant", f"{__name__}:Constant", summary="always the same")
"""


def with_plugin(folder: Path, name: str, more: str = "") -> Path:
    """Write an evaluator of the user's own and an experiment of a few seconds that uses it."""
    (folder / f"{name}.py").write_text(PLUGIN)
    return write_experiment(
        folder,
        verifications=5,
        designs=1,
        more=f'[plugins]\nlocal = ["{name}.py"]\n[[evaluators]]\nuse = "constant"\n{more}',
    )


def key_of(path: Path, tasks: dict[str, str] | None = None) -> str:
    context = load(path, ()).on(PreparedCorpus(".", 300, "d", tasks=tasks or {}))
    job = verification_job(context.verify, "source", MODEL, 0, 1)
    return noise_cache(context).key(job, accelerator=False)


def test_a_key_tells_an_edited_evaluator_from_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("GENESYS_CACHE", str(tmp_path / "cache"))
    path = with_plugin(tmp_path, "calibrated_plugin")
    before = key_of(path)
    assert key_of(path) == before
    (tmp_path / "calibrated_plugin.py").write_text(PLUGIN.replace("1.0", "2.0"))
    assert key_of(path) != before


def test_a_key_tells_tasks_whose_data_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENESYS_CACHE", str(tmp_path / "cache"))
    path = write_experiment(tmp_path)
    keys = {key_of(path, {"tasks": f"/{where}/{what}"}) for where in "xy" for what in ("1", "2")}
    assert len(keys) == 2, "where they lie does not count"


@pytest.mark.exhaustive
@pytest.mark.slow
def test_an_edited_evaluator_has_the_noise_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENESYS_CACHE", str(tmp_path / "cache"))
    path = with_plugin(tmp_path, "edited_plugin")
    for value, reused in (("1.0", 0), ("1.0", 2), ("2.0", 0)):
        (tmp_path / "edited_plugin.py").write_text(PLUGIN.replace("1.0", value))
        (rung,) = rungs(engine("calibrate", path, "--seeds", 2, "--json"))
        assert rung["reused"] == reused
        assert rung["metrics"]["constant"]["values"] == [float(value)] * 2


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"status": "ok", "scores": 3}', "failed"])
def test_what_cannot_be_read_is_measured_again(tmp_path: Path, damage: str) -> None:
    cache = NoiseCache(tmp_path, "digest", VERSIONS)
    assert cache.get("ab12") is None
    cache.put("ab12", RESULT)
    known = cache.get("ab12")
    assert known is not None
    assert known.result == RESULT
    assert known.facts == {"reused": "ab12"}
    (file,) = tmp_path.rglob("*.json")
    failed = json.dumps({**json.loads(file.read_text()), "status": "failed"})
    file.write_text(failed if damage == "failed" else damage)
    assert cache.get("ab12") is None


def test_what_a_training_cost_counts_for_whoever_uses_it(tmp_path: Path) -> None:
    cache = NoiseCache(tmp_path, "digest", VERSIONS)
    cache.put("ab12", RESULT, {"device": "cpu", "device_s": 2.5, "wall_s": 2.5})
    known = cache.get("ab12")
    assert known is not None
    assert known.facts == {"reused": "ab12", "device": "cpu", "device_s": 2.5}


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENESYS_CACHE", str(tmp_path / "cache"))
    path = write_experiment(tmp_path, verifications=5, designs=1)
    path.write_text(path.read_text().replace("tokens = 6144\n", "tokens = 6144\nnoise_seeds = 3\n"))
    return path


def rungs(answer: Answer) -> list[dict]:
    assert answer.code == 0, answer.err
    found: list[dict] = json.loads(answer.out)["data"]["rungs"]
    return found


@pytest.mark.exhaustive
@pytest.mark.slow
def test_runs_of_any_seed_take_the_noise_from_the_calibration(
    experiment: Path, tmp_path: Path
) -> None:
    cold = tmp_path / "cold"
    assert engine("run", experiment, "--out", cold).code in (0, 1)
    (rung,) = rungs(engine("calibrate", experiment, "--seeds", 3, "--json"))
    assert (rung["seeds"], rung["reused"]) == (3, 2), "the run had measured two of them"
    bits = rung["metrics"]["bits_per_byte"]
    assert len(set(bits["values"])) == 3
    assert bits["stdev_percent"] == pytest.approx(100 * bits["stdev"] / bits["mean"])
    assert rung["fitness_sigma_percent"] > 2 * bits["stdev_percent"], "three seeds know little"
    (again,) = rungs(engine("calibrate", experiment, "--seeds", 3, "--json"))
    assert again["reused"] == 3
    assert again["metrics"] == rung["metrics"]

    warm, other = tmp_path / "warm", tmp_path / "other"
    assert engine("run", experiment, "--out", warm).code in (0, 1)
    assert digest(warm) == digest(cold), "the log does not tell where a result came from"
    assert engine("run", experiment, "--out", other, "--set", "run.seed=9").code in (0, 1)
    for run, reused in ((cold, 0), (warm, 2), (other, 2)):
        sql = "SELECT scores FROM verifications WHERE design = 0 AND facts LIKE '%reused%'"
        values = [json.loads(text)["bits_per_byte"]["value"] for (text,) in ask(run, sql)]
        assert values == bits["values"][:reused]


@pytest.mark.slow
def test_a_reference_that_fails_ends_the_calibration(experiment: Path) -> None:
    rate = "trainer.matrix_lr=1e9"
    engine("calibrate", experiment, "--set", rate).refused(
        2, "the reference gpt failed at 0.2M", "fix the budget of the rung"
    )
    answer = here("calibrate", experiment, "--seeds", 1)
    assert answer.code == 2
    assert "1 is not in the range x>=2" in answer.err
