"""What crosses between stages, in JSON: what a store, a cache and a worker have always read."""

import hashlib
import json
import math

import pytest
from pydantic import ValidationError

from genesys_engine.engine.common.canonical import canonical_json
from genesys_engine.engine.common.records import from_json, to_json
from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.engine.jobs.replies import EvaluateReply, TrainReply, VerifyReply
from genesys_engine.engine.jobs.results import (
    Abandoned,
    ConfirmResult,
    DesignEntry,
    DesignResult,
    Duplicate,
    VerifyResult,
    read_result,
)
from genesys_engine.engine.jobs.scores import Score
from genesys_engine.engine.jobs.tasks import (
    CONFIRM,
    DESIGN,
    VERIFY,
    ConfirmTask,
    DesignTask,
    TaskParent,
    VerifyTask,
    read_task,
)
from genesys_engine.engine.jobs.worker_jobs import (
    Budget,
    CheckJob,
    ComponentSpec,
    TrainJob,
    VerifyJob,
)
from genesys_engine.gab.checks.report import Finding
from genesys_engine.gab.scales import ModelConfig
from genesys_engine.plugins.api import LLMUsage

SCORE = {"value": 2.5, "stderr": 0.1, "higher_is_better": False, "n": 4}
WARNING = {
    "severity": "warning", "code": "cost.loop", "message": "a loop.", "advice": "no loop.",
    "unit": None, "line": 3, "evidence": {"b": 1, "a": 2.0}, "of_later": True,
}  # fmt: skip
FIT = {"d_model": 64, "n_blocks": 2, "context": 32, "vocab_size": 300, "parameters": 9, "ratio": 1}
REPORT = {
    "findings": [WARNING],
    "passed": True,
    "measurements": {"flops_per_token": {"0.2M": 7}, "fits": {"0.2M": FIT}, "layers": ["x"]},
}


def test_a_report_is_given_back_word_by_word():
    """In the order of its fields too: a prompt names them so."""
    report = DesignReport.read(REPORT, ["0.2M"])
    assert json.dumps(report.to_json()) == json.dumps(REPORT)
    assert report.measurements.fits["0.2M"].model == ModelConfig(64, 2, 300, 32)
    assert (report.findings[0].code, report.errors) == ("cost.loop", [])


def test_a_report_of_a_check_that_ended_early_is_a_report():
    report = DesignReport.refused(Finding("check.timeout", "error", "x" * 30_000, "faster."))
    assert DesignReport.from_json(report.to_json()) == report
    assert (report.passed, report.errors) == (False, ["check.timeout"])


@pytest.mark.parametrize("scales", [["0.2M", "1M"], ["1M"]])
def test_a_reply_is_held_to_the_scales_and_a_stored_report_is_not(scales):
    with pytest.raises(ValidationError):
        DesignReport.read(REPORT, scales)
    assert DesignReport.from_json(REPORT).passed


@pytest.mark.parametrize(
    ("task", "data"),
    [
        (
            DesignTask((TaskParent(3, 0.5, "wider."),), None, 4, 5, 6),
            {
                "parents": [{"design": 3, "fitness": 0.5, "change": "wider."}],
                "seed": None, "known_before": 4, "verified_before": 5, "applied_before": 6,
            },
        ),
        (VerifyTask(1, 0, 1000), {"design": 1, "rung": 0, "replicate": 1000}),
        (ConfirmTask(1, 2), {"design": 1, "rung": 2}),
    ],
)  # fmt: skip
def test_a_task_is_the_json_that_it_always_was(task, data):
    assert to_json(task) == data
    assert read_task(task.kind, data) == task


def test_a_task_of_an_earlier_version_says_less():
    task = read_task(DESIGN, {"parents": [], "seed": "gpt", "known_before": 0})
    assert (task.verified_before, task.applied_before) == (None, None)


def test_a_task_of_the_wrong_form_is_refused():
    with pytest.raises(ValueError, match="rung"):
        read_task(VERIFY, {"design": 1, "replicate": 0})


ENTRY = DesignEntry(
    {"units": {}}, "d", "gp", "wider.", {"k": [1]}, DesignReport.from_json(REPORT), "f"
)


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        (DESIGN, DesignResult()),
        (
            DESIGN,
            DesignResult(
                ENTRY,
                (ENTRY,),
                (Duplicate(1, "gp", "wider."),),
                2,
                Abandoned("llm", "proposal.malformed", "no JSON", {}, "planner", ""),
                {"planner": LLMUsage(1, 2, 3, None)},
            ),
        ),
        (VERIFY, VerifyResult.failed("timeout", "too slow")),
        (
            VERIFY,
            VerifyResult(
                "ok",
                scores={"m": Score(**SCORE)},
                controls={"untrained": {"m": Score(**SCORE)}},
                curve=((1.0, 2.0),),
                tokens=1,
                steps=2,
                parameters=3,
            ),
        ),
        (CONFIRM, ConfirmResult(1, ENTRY.report.findings, "", 1.0)),
    ],
)  # fmt: skip
def test_a_result_survives_the_store(kind, result):
    assert read_result(kind, json.loads(canonical_json(result.to_json()))) == result


def test_a_result_that_failed_names_no_steps_and_an_empty_one_no_language_models():
    keys = {"status", "cause", "reason", "scores", "controls", "curve", "tokens"}
    assert VerifyResult.failed("timeout", "too slow").to_json().keys() == keys
    assert "llm" not in DesignResult().to_json()


def test_what_failed_keeps_what_can_be_reckoned_with():
    scores = {"good": Score(**SCORE), "bad": Score(math.inf, None, True, 1)}
    known = VerifyResult("ok", "", "", scores, {"u": scores}, ((1, math.nan), (2, 3.0)), 5, 6, 7)
    kept = VerifyResult.failed("not_finite", "infinite", known)
    assert (kept.scores.keys(), kept.controls["u"].keys()) == ({"good"}, {"good"})
    assert (kept.curve, kept.tokens, kept.steps) == (((2, 3.0),), 5, None)


def test_a_score_is_one_object_from_the_reply_on():
    reply = EvaluateReply(status="ok", scores={"m": {**SCORE, "stderr": "x"}})
    training = TrainReply(status="ok", curve=[(1, 2)], tokens=3, steps=4, parameters=5)
    whole = reply.after(training.result)
    assert whole.scores["m"] is reply.scores["m"]
    assert whole.scores["m"] == Score(2.5, None, higher_is_better=False, n=4)
    assert (whole.tokens, whole.steps, whole.parameters) == (3, 4, 5)
    assert VerifyReply(**{**to_json(whole), "facts": {}}).result == whole


@pytest.mark.parametrize("wrong", [{"n": -1}, {"unit": "bits"}, {"value": "x"}])
def test_a_score_of_the_wrong_form_is_refused(wrong):
    with pytest.raises(ValidationError):
        EvaluateReply(status="ok", scores={"m": {**SCORE, **wrong}})
    with pytest.raises(ValidationError):
        from_json(Score, {**SCORE, **wrong})


def test_a_job_is_the_json_that_it_always_was():
    """A cache, and a training that waits for its evaluation, are known by these bytes."""
    spec = ComponentSpec("a:B", {"device": "cpu"})
    training = TrainJob("x", ModelConfig(64, 2, 300, 32), "/c", 5, Budget(10, 5, 1e-3), spec)
    job = VerifyJob(training, (ComponentSpec("c:D", {}, "heldout"),))
    text = canonical_json(job.to_json())
    wanted = "ead55be7f444"
    assert hashlib.sha256(text.encode()).hexdigest().startswith(wanted), text
    assert job.evaluation(None).checkpoint is None
    check = to_json(CheckJob("x", ("0.2M",), 300, 0))
    assert check == {"source": "x", "scales": ["0.2M"], "vocab_size": 300, "seed": 0}
