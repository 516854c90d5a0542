"""`[sandbox]`: what an experiment may ask for, and what happens where it cannot be had."""

import json
import math
from contextlib import nullcontext
from pathlib import Path

import pytest

from genesys_engine.engine.check.design_check import CheckSettings, DesignCheck
from genesys_engine.engine.cli import main
from genesys_engine.engine.common.canonical import canonical_json
from genesys_engine.engine.config import ConfigError, load_experiment
from genesys_engine.engine.config.load import read_source
from genesys_engine.engine.corpus.prepared import PreparedCorpus
from genesys_engine.engine.evaluate.verifier import RungSettings, Verifier, VerifySettings
from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.engine.jobs.worker_jobs import ComponentSpec, Trial
from genesys_engine.engine.run import lifecycle
from genesys_engine.engine.run.assembly import demand_isolation, load, load_setup, open_executor
from genesys_engine.engine.run.context import Setup
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.train.placement import Trials
from genesys_engine.gab import library
from genesys_engine.gab.compose import compose
from genesys_engine.gab.errors import EnvironmentProblem, PluginError
from genesys_engine.gab.scales import ModelConfig
from genesys_engine.plugins.api import Limits, Outcome
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.registry import Description
from genesys_engine.plugins.sandbox import isolation_here
from genesys_engine.plugins.testing.recorded import RecordedExecutor

BELOW = '[sandbox]\nrequire = "strict"\n[executor]\nisolation = "process"\n'


@pytest.fixture
def experiment(tmp_path):
    def write(text):
        path = tmp_path / "experiment.toml"
        path.write_text(text)
        return path

    return write


# --- the file ---


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('[sandbox]\nrequire = "strikt"', 2, "must be 'process', 'standard' or 'strict'"),
        ("[sandbox]\nrequire = 3", 2, "must be"),
        ('[sandbox]\nrequired = "strict"', 2, "unknown key 'required'"),
        ('[sandbox]\nreadable = ["data"]', 2, "nothing at '/"),
        ('[sandbox]\nreadable = ["/tmp", "/no/such/place"]', 2, "nothing at '/no/such/place'"),
        ('[executor]\nisolation = "none"', 2, "must be 'process', 'standard' or 'strict'"),
    ],
)
def test_a_fault_has_its_place(experiment, text, line, message):
    with pytest.raises(ConfigError) as caught:
        load_experiment(experiment(text))
    (problem,) = caught.value.problems
    assert problem.place.line == line
    assert message in problem.message


def test_the_sandbox_changes_no_result_and_no_digest(experiment):
    plain = load_experiment(experiment(""))
    assert plain.sandbox.require == "process"
    assert plain.digest == load_experiment(experiment('[sandbox]\nrequire = "strict"')).digest


# --- below the level ---


@pytest.mark.parametrize("command", ["run", "plan"])
def test_below_its_level_nothing_is_started(command, experiment, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([command, str(experiment(BELOW))]) == 4
    told = capsys.readouterr().err
    assert "isolation level 'strict' is required, but this machine reaches 'process'" in told
    assert all(name in told for name in ("landlock", "seccomp", "namespaces"))
    assert "help:" in told
    assert not (tmp_path / "runs").exists()


def test_an_executor_that_cannot_tell_is_no_isolation(experiment):
    setup = load(experiment('[sandbox]\nrequire = "standard"'), ())
    host, loaded = setup.host, setup.experiment
    target = "genesys_engine.plugins.testing.recorded:RecordedExecutor"
    recorded = Description("executor", "recorded", target, "", "test", "1")
    host.registry.register(recorded)
    section = loaded.executor.model_copy(update={"use": "recorded", "options": {}})
    silent = loaded.model_copy(update={"executor": section})
    with pytest.raises(EnvironmentProblem, match=r"'standard' .* executor 'recorded'"):
        demand_isolation(Setup(host, silent))
    open_to_all = silent.sandbox.model_copy(update={"require": "process"})
    willing = silent.model_copy(update={"sandbox": open_to_all})
    assert demand_isolation(Setup(host, willing)) is None


def test_the_level_of_this_machine_is_accepted_and_told(experiment):
    level = isolation_here().level
    setup = load(experiment(f'[sandbox]\nrequire = "{level}"'), ())
    told = demand_isolation(setup)
    assert (told["level"], told["required"]) == (level, level)
    with open_executor(setup) as executor:
        assert executor.isolation(executor.Options()).level == level


def test_a_run_records_its_level(experiment, tmp_path, monkeypatch):
    text = """
[population]
seeds = ["gpt"]
[corpus]
max_bytes = 300_000
vocab_size = 512
heldout = 0.2
[ladder]
rungs = [{ scale = "0.2M", verifications = 1, tokens = 4096 }]
"""
    monkeypatch.setattr(lifecycle, "execute", lambda *_, **__: None)
    callbacks = lifecycle.Callbacks(lambda _: None, lambda _: None, lambda: None, lambda _: None)
    source = read_source(experiment(text))
    lifecycle.start(load_setup(source), source, tmp_path / "run", callbacks)
    here = isolation_here()
    with Store.open(tmp_path / "run") as store:
        told = {"required": "process", **here.to_json(), "compiles": False}
        assert store.meta("sandbox") == told
    lifecycle.resume(tmp_path / "run", ["executor.isolation=process"], callbacks)
    with Store.open(tmp_path / "run") as store:
        assert store.meta("sandbox")["level"] == "process"
    sets = ["executor.isolation=process", "sandbox.require=standard"]
    with pytest.raises(EnvironmentProblem):
        lifecycle.resume(tmp_path / "run", sets, callbacks)


def test_doctor_tells_the_level_and_what_is_missing(capsys):
    main(["doctor", "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["data"]}
    here = isolation_here()
    assert rows["isolation level"]["found"].startswith(here.level)
    for name in ("landlock", "seccomp", "namespaces"):
        held = name not in here.missing("strict")
        assert rows[f"isolation: {name}"]["status"] == ("ok" if held else "warn")


def test_limits_of_training_open_the_corpus_and_what_the_file_says(experiment, tmp_path):
    text = f'[sandbox]\nreadable = ["{tmp_path}"]\n[trainer]\ndevice = "cpu"\n'
    corpus = PreparedCorpus(str(tmp_path / "corpus"), 512)
    settings = load(experiment(text), ()).on(corpus).verify
    assert settings.evaluation.readable == (str(tmp_path / "corpus"), str(tmp_path))
    *files, own = settings.limits.readable
    assert own == str(tmp_path)
    assert str(tmp_path / "corpus" / "train.bin") in files
    assert not any(name in path for path in files for name in ("heldout", "tasks"))
    assert not settings.limits.accelerator


# --- replies of workers that lie ---


PASSED = RecordedExecutor(workers=0, reject=0)._check(
    {"source": "x", "scales": ["0.2M"], "vocab_size": 512}
)
FINDING = {"code": "a.b", "severity": "error", "message": "", "advice": ""}


def checked(reply, folder, checkers=()):
    class Liar(RecordedExecutor):
        def _answer(self, job, payload):
            return Outcome("ok", reply)

    settings = CheckSettings(("0.2M",), 512, 0, Limits(), checkers)
    check = DesignCheck(Liar(workers=0), settings, folder)
    return check.report(compose(library.seed("gpt")), "0-0")


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"passed": True},
        {**PASSED, "passed": "yes"},
        {**PASSED, "findings": [FINDING]},
        {**PASSED, "passed": False},
        {**PASSED, "findings": "none"},
        {**PASSED, "measurements": {}},
        {**PASSED, "measurements": {"fits": {"0.2M": {"d_model": -1}}}},
        {**PASSED, "measurements": {**PASSED["measurements"], "fingerprint": 3}},
        {**PASSED, "measurements": {**PASSED["measurements"], "flops_per_token": {"0.2M": "x"}}},
        {"passed": False, "findings": [{"code": "a"}], "measurements": {}},
        *(
            {"passed": False, "findings": [{**FINDING, **odd}], "measurements": {}}
            for odd in ({"unit": 3}, {"line": "x"}, {"evidence": 5})
        ),
        *(
            {**PASSED, "measurements": {**PASSED["measurements"], "checker_fault": fault}}
            for fault in (1, {"name": "mine"}, {"name": "mine", "reason": 3})
        ),
    ],
)
def test_a_check_s_reply_that_does_not_fit_is_a_failed_check(reply, tmp_path):
    report = checked(reply, tmp_path)
    assert not report.passed
    assert report.errors == ["check.bad_reply"]
    assert "malformed" in report.findings[0].message


def test_only_a_checker_of_the_experiment_can_be_at_fault(tmp_path):
    fault = {"name": "mine", "reason": "broken"}
    reply = {**PASSED, "measurements": {**PASSED["measurements"], "checker_fault": fault}}
    assert checked(reply, tmp_path).passed
    assert checked(reply, tmp_path, (ComponentSpec("x", {}, "another"),)).passed
    with pytest.raises(PluginError, match="broken"):
        checked(reply, tmp_path, (ComponentSpec("x", {}, "mine"),))


OF_EVALUATION = {"scores", "controls"}
RUNG = RungSettings("0.2M", 64, 1000, 100, 1e-3)


def started(folder, executor):
    """Begin a verification as a run does; return its result."""
    common = (ComponentSpec("x", {}), {"0.2M": ()}, Limits(), Limits())
    settings = VerifySettings(0, Path("none"), (RUNG,), *common)
    trials = Trials(PluginHost(), executor, "process", lambda *_: nullcontext())
    verifier = Verifier(trials, settings, folder)
    job = verifier.job("x", ModelConfig(16, 1, 512, 64), 0, 0)
    trial = Trial(0, "digest", 0, "0.2M", 0)
    return verifier.start(0, job, "design-0.safetensors", trial).result()


def verified(folder, **reply):
    """Return what becomes of the replies of a verification, whose training took three seconds."""

    class Liar(RecordedExecutor):
        def _answer(self, job, payload):
            scored = {key: value for key, value in reply.items() if key in OF_EVALUATION}
            if job == "evaluate":
                return Outcome("ok", {"status": reply.get("status", "ok"), **scored})
            told = {key: value for key, value in reply.items() if key not in OF_EVALUATION}
            told["status"] = "ok" if scored else reply.get("status", "ok")
            return Outcome("ok", told, facts={"wall_s": 3.0})

    read = started(folder, Liar(workers=0))
    canonical_json(read.result.to_json())  # as the store does
    return read


def score(value, **more):
    return {"value": value, "higher_is_better": False, "n": 1, **more}


def test_what_the_parent_measured_counts_before_the_reply(tmp_path):
    facts = verified(tmp_path, facts={"wall_s": "x", "device_s": 1e300, "train_s": 2.5}).facts
    assert facts == {"wall_s": 3.0, "device_s": 3.0, "train_s": 2.5}


@pytest.mark.parametrize(
    "reply",
    [
        {"facts": {"train_s": math.inf}},
        {"facts": {"train_s": [1]}},
        {"scores": {"m": score(10**400)}},
        {"checkpoint": "a\0b"},
    ],
)
def test_a_verification_s_reply_that_does_not_fit_is_a_failure(reply, tmp_path):
    result = verified(tmp_path, **reply).result
    assert (result.status, result.cause) == ("failed", "bad_reply")


@pytest.mark.parametrize("value", [math.inf, math.nan, -1e308, 1e101])
def test_a_score_that_cannot_be_reckoned_with_is_a_failure(value, tmp_path):
    given = {"m": score(value), "good": score(1.0)}
    for reply in ({"scores": given}, {"controls": {"untrained": given}}, {"curve": [(1, value)]}):
        result = verified(tmp_path, **reply).result
        assert (result.status, result.cause) == ("failed", "not_finite")
    result = verified(tmp_path, status="failed", scores=given, curve=[(2, 3)]).result
    assert (result.scores.keys(), result.curve) == ({"good"}, ((2, 3),))
    result = verified(tmp_path, status="failed", curve=[(1, value), (2, 3)]).result
    assert result.curve == ((2, 3),)


@pytest.mark.parametrize("stderr", [10**400, math.nan, 1e308, "x"])
def test_a_standard_error_that_is_none_is_left_out(stderr, tmp_path):
    result = verified(tmp_path, scores={"m": score(2.0, stderr=stderr)}).result
    assert result.status == "ok"
    assert result.scores["m"].stderr is None


def test_a_true_reply_is_kept_word_by_word():
    assert DesignReport.read(PASSED, ["0.2M"]).to_json() is PASSED


@pytest.mark.parametrize("left", ["link", "garbage", "nothing"])
def test_a_checkpoint_that_is_none_is_a_failed_verification(left, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("text")

    class Liar(RecordedExecutor):
        def submit(self, target, payload, scratch, limits):
            path = scratch / "model.safetensors"
            if left == "link":
                path.symlink_to(secret)
            elif left == "garbage":
                path.write_bytes(b"\x80\x04pickle")
            return super().submit(target, payload, scratch, limits)

        def _train(self, payload):
            return {**super()._train(payload), "checkpoint": "../../model.safetensors"}

    result = started(tmp_path, Liar(workers=0, fail=0)).result
    assert (result.status, result.cause) == ("failed", "bad_reply")
    assert "checkpoint" in result.reason
    assert not (tmp_path / "checkpoints").exists()
    assert secret.read_text() == "text"
    assert not (tmp_path / "scratch" / "verify-0").exists()
