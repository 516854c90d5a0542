"""The auditor's levels, evidence, warnings and thresholds, in this process and in workers."""

import json
import math
import os
import tempfile
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch
from spoilt import spoil

from genesys_engine.engine.check import audit
from genesys_engine.gab import library
from genesys_engine.gab.checks import static
from genesys_engine.gab.checks.adapter import replying_with_pairs
from genesys_engine.gab.checks.brief import brief
from genesys_engine.gab.checks.report import ADVICE, CheckReport, finding
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.compose import compose, load_block
from genesys_engine.plugins.api import Limits, Outcome
from genesys_engine.plugins.auditor import (
    batch,
    blame,
    causality,
    cost,
    forward,
    gradient,
    judged,
    mixing,
    modes,
    training,
)
from genesys_engine.plugins.auditor.audit import Order
from genesys_engine.plugins.auditor.candidate import here
from genesys_engine.plugins.auditor.chunks import lengths_named
from genesys_engine.plugins.auditor.cost import Cost, _loop, check_cost, count_cost, time_against
from genesys_engine.plugins.auditor.here import audit_block
from genesys_engine.plugins.auditor.numbers import difference
from genesys_engine.plugins.auditor.subject import Subject
from genesys_engine.plugins.executors.process import ProcessExecutor, ProcessOptions
from genesys_engine.plugins.sandbox.scratch import remove

torch.set_num_threads(1)
ZOO = Path(__file__).parents[2] / "zoo"
ATTENTION = (ZOO / "good/causal_attention.py").read_text()
LEAK = (ZOO / "bad/causality.leak.mask_off_by_one.py").read_text()


def subject(source, **more):
    return Subject(here(source), SourceMap(source), 128, 0, 64, **more)


def with_line(before, line):
    assert before in ATTENTION
    return ATTENTION.replace(before, f"{line}\n        {before}", 1)


@pytest.fixture(scope="module")
def executor():
    executor = ProcessExecutor(ProcessOptions(preload=audit.PRELOAD), workers=2)
    yield executor
    executor.close()


# --- levels and reports ---


def test_a_sound_block_passes_at_a_context_of_256():
    """The model that is as deep as the deepest rung's is asked about short texts alone."""
    source = compose(library.seed("gpt"))
    report = audit_block(Order(source, context=256)).report
    assert [each.code for each in report.findings if each.severity == "error"] == []


def test_equal_orders_give_equal_reports_and_facts_stay_outside(executor):
    reference = audit.reference_source()
    target = audit.Target("a block", ATTENTION)
    one, other = (audit.audit(target, executor, reference=reference) for _ in range(2))
    assert one.report == other.report
    assert one.report.passed
    assert set(one.facts) == {"seconds", "time_ratio", "time_exponent"}
    assert one.facts["time_ratio"] > 0
    json.dumps(one.report.to_json(), allow_nan=False)
    assert "seconds" not in json.dumps(one.report.to_json())


def test_fast_level_finds_leaks_and_trains_nothing():
    good = audit_block(Order(ATTENTION, level="fast", d_model=64)).report
    assert good.passed
    assert set(good.measurements) == {"probe"}
    (found,) = audit_block(Order(LEAK, level="fast", d_model=64)).report.findings
    assert found.code == "causality.leak"


def test_a_leak_has_the_smallest_evidence():
    report = audit_block(Order(LEAK, d_model=64)).report
    (found,) = report.findings
    assert found.evidence["position"] == found.evidence["cut"] - 1
    assert found.evidence["layer"] == 0
    assert found.unit == "Mixer"
    assert report.measurements["probe"]["seed"] == 0


def test_a_leak_in_one_layer_names_the_layer():
    source = (ZOO / "bad/causality.leak.in_layer_1_only.py").read_text()
    (found,) = audit_block(Order(source, d_model=64)).report.findings
    assert found.evidence["layer"] == 1
    # A single layer is right, but a model as deep as a fitted one is probed afterwards.
    (found,) = audit_block(Order(source, d_model=64, layers=1)).report.findings
    assert (found.evidence["layer"], found.evidence["parameters"]) == (1, "moved")


def test_the_function_of_a_parent_is_no_child():
    print_ = audit_block(Order(ATTENTION, d_model=64)).report.measurements["fingerprint"]
    other = ATTENTION.replace(
        "for t in self.qkv(X).chunk(3, -1)", "for t in self.qkv(X).split(D, -1)"
    )
    assert other != ATTENTION
    report = audit_block(Order(other, d_model=64, parents={"design 3": print_})).report
    assert [each.code for each in report.findings] == ["function.same"]
    assert "design 3" in report.findings[0].message


def test_receptive_field_is_measured():
    window = (ZOO / "good/sliding_window.py").read_text()  # 15 back in each of two layers
    assert mixing.receptive_field(subject(window)) == 16
    assert mixing.receptive_field(subject(ATTENTION)) == 127
    assert mixing.receptive_field(subject((ZOO / "good/token_shift.py").read_text())) == 2


# --- warnings ---


READS = "Y = (1.0 if X.sum().item() < 1e9 else 2.0) * "
LOOP = "for _ in range(5 * T):\n            X = X + 0"
WIDE = "X = X + 0.0 * (X @ X.new_ones(D, 512 * D)).mean(-1, True)"
LARGE = "X = X + (X[..., None].expand(B, T, D, 200) * X[..., None]).tanh().mean(-1)"


def test_warnings_do_not_fail_a_block():
    report = audit_block(
        Order(with_line("self.out =", "self.act = nn.GELU()").replace("Y = ", READS, 1), d_model=64)
    ).report
    assert {each.code for each in report.findings} == {"static.unused", "device.bound"}
    assert report.passed


@pytest.mark.parametrize(
    ("line", "code"), [(LOOP, "cost.loop"), (WIDE, "cost.flops"), (LARGE, "cost.memory")]
)
def test_cost_is_compared_with_the_reference(line, code):
    measured = {}
    reference = load_block(ATTENTION)
    found = list(check_cost(subject(with_line("q, k, v =", line)), measured, reference))
    assert (code, "warning") in {(each.code, each.severity) for each in found}
    assert list(check_cost(subject(ATTENTION), measured, reference)) == []
    assert measured["cost"]["operations_ratio"] == measured["cost"]["memory_ratio"] == 1


def test_a_slow_block_is_a_fact_of_the_machine():
    loop = subject(with_line("q, k, v =", "for _ in range(50 * T):\n            X = X * 1.0"))
    reference = load_block(ATTENTION)
    facts, (found,) = time_against(loop, reference)
    assert facts["time_ratio"] > 10
    assert (found.code, found.severity) == ("cost.slow", "warning")
    assert time_against(subject(ATTENTION), replying_with_pairs(reference))[1] == []


# --- the static look ---


def codes(source):
    return [
        (each.code, each.line) for each in static.check_static(source, "Block", SourceMap(source))
    ]


def test_every_line_that_does_not_belong_is_told_at_once():
    source = "import os\n" + ATTENTION.replace("Y = ", "Y = eval('1') * ", 1)
    assert codes(source) == [("static.import", 1), ("static.interpreter", 18)]
    assert codes("import torch.utils.cpp_extension\n" + ATTENTION)[0] == ("static.import", 1)
    assert codes("from torch import hub\n" + ATTENTION)[0] == ("static.import", 1)
    assert codes(ATTENTION + "x = getattr(nn, '__globals__')\n")[0][0] == "static.interpreter"


@pytest.mark.parametrize("source", ["class Block(:", "\0", "(" * 500, "x = 1\n" * 3 + "  y"])
def test_what_cannot_be_parsed_is_a_finding(source):
    assert [code for code, _ in codes(source)] == ["load.syntax"]


def test_every_seed_and_every_library_unit_is_clean():
    for name in library.seed_names():
        assert codes(compose(library.seed(name))) == []


def test_probes_are_longer_than_chunks_in_the_code():
    assert lengths_named("C = 200\nD = 70_000\nE = True\nF = 512.0") == (200,)
    assert lengths_named("C = 200\nD = 1 / 512") == (200,)
    longer = subject("C = 300\n" + ATTENTION, beyond=True)
    assert (longer.longest, longer.lengths[-1]) == (303, 303)
    assert subject(ATTENTION, beyond=True).longest == 2 * 128 + 3
    assert subject(ATTENTION).longest == 128


def test_all_rows_at_once_differ_as_each_does_alone():
    outputs = torch.randn(4, 9, 3, dtype=torch.float64)
    outputs[2, 6] = math.nan  # behind this row's cut
    cuts = (1, 5, 8)
    together = causality._changes(outputs, cuts)
    outputs[2, 4] = math.nan
    behind = causality._changes(outputs, cuts)
    for row, cut in enumerate(cuts, start=1):
        alone = difference(outputs[0, :cut], outputs[row, :cut])
        assert float(behind[row - 1]) == pytest.approx(alone, nan_ok=True)
    assert together.isfinite().all()
    assert behind.isnan().tolist() == [False, True, False]


# --- thresholds: NaN fails ---


def test_nan_fails_every_threshold():
    spoilt = spoil(subject(ATTENTION))
    assert next(causality.check_lengths(spoilt)).code == "causality.length"
    assert next(modes.check_growth(spoilt)).code == "output.explodes"
    good = training.Trained(5.5, 3.0, 3.0)
    control = training.Trained(5.1, 4.0, 4.0)
    assert training._verdict(good, control, 2.5) is None
    for before, after, last in ((math.nan, 3, 3), (5.5, math.nan, 3), (5.5, 3, math.nan)):
        trained = training.Trained(before, after, last)
        code, _ = training._verdict(trained, control, 2.5)
        assert code == "training.flat"
    short, double = Cost(64, 1, 1), Cost(128, 1, 1)
    assert _loop(short, double, math.nan, (None, None)).code == "cost.quadratic_loop"


@pytest.mark.parametrize(
    ("check", "code"),
    [
        (forward.check_finite, "output.nonfinite"),
        (forward.check_repeatable, "state.kept"),
        (batch.check_batch, "batch.mixed"),
        (causality.check_causality, "causality.leak"),
        (causality.check_causality_fast, "causality.leak"),
        (causality.check_lengths, "causality.length"),
        (mixing.check_mixing, "mixing.none"),
        (modes.check_modes, "mode.differs"),
        (modes.check_growth, "output.explodes"),
    ],
)
def test_outputs_that_are_no_numbers_fail_every_probe(check, code, monkeypatch):
    monkeypatch.setattr(blame, "first_different", lambda *_: (None, None))
    spoilt = subject(ATTENTION)
    spoilt.noise  # noqa: B018  found before the outputs are spoilt
    assert next(check(spoil(spoilt))).code == code


NAN_FORWARD = "X = X * math.nan"
NAN_BACKWARD = "X = X + (X - X).square().sum(-1, keepdim=True).sqrt()"


@pytest.mark.parametrize(
    ("check", "line", "code"),
    [
        (modes.check_autocast, NAN_FORWARD, "autocast.error"),
        (modes.check_large_inputs, NAN_FORWARD, "output.overflow"),
        (modes.check_large_inputs, NAN_BACKWARD, "output.overflow"),
        (gradient.check_gradient, NAN_BACKWARD, "gradient.nonfinite"),
        (gradient.check_gradient_fast, NAN_BACKWARD, "gradient.nonfinite"),
    ],
)
def test_gradients_that_are_no_numbers_fail(check, line, code):
    assert next(check(subject("import math\n" + with_line("q, k, v =", line)))).code == code


def test_costs_that_are_no_numbers_are_told(monkeypatch):
    ratios = {"operations_ratio": math.nan, "memory_ratio": math.nan}
    assert [f.code for f in cost._expensive(ratios, (None, None))] == ["cost.flops", "cost.memory"]
    monkeypatch.setattr(cost, "_exponent", lambda *_: math.nan)
    assert "cost.growth" in {f.code for f in check_cost(subject(ATTENTION), {}, None)}
    monkeypatch.setattr(cost, "_seconds", lambda *_: math.nan)
    probed, reference = subject(ATTENTION), load_block(ATTENTION)
    assert [f.code for f in time_against(probed, reference)[1]] == ["cost.slow"]


def test_the_evidence_of_a_leak_reproduces_it():
    (found,) = audit_block(Order(LEAK, d_model=64, seed=5)).report.findings
    evidence = found.evidence
    assert (evidence["seed"], evidence["parameters"]) == (5, "initial")
    again = Subject(here(LEAK), SourceMap(LEAK), 128, 5, 64)
    model = again.model().eval()
    tokens = again.tokens(1, evidence["length"])
    other = causality._with_new_suffix(again, tokens, evidence["cut"])
    one, two = (again.layers(model, rows) for rows in (tokens, other))
    apart = (one[evidence["layer"]] - two[evidence["layer"]]).abs().amax((0, 2))
    assert int((apart > 1e-9).int().argmax()) == evidence["position"]


def test_every_finding_of_a_probe_has_its_seed():
    for path in sorted((ZOO / "bad").glob("*.py")):
        if path.name.startswith(("mixing", "batch", "state", "gradient.missing")):
            found = audit_block(Order(path.read_text("utf-8"), d_model=32, seed=3)).report.findings
            assert {f.evidence["seed"] for f in found if f.severity == "error"} == {3}


def test_what_is_audited_is_what_was_read(tmp_path, executor):
    path = tmp_path / "block.py"
    path.write_text(LEAK)
    target = audit.find_target(str(path))
    path.write_text(ATTENTION)  # too late
    found = audit.audit(target, executor, level="fast").report.findings
    assert [each.code for each in found] == ["causality.leak"]


def test_training_verdicts():
    control = training.Trained(5.1, 4.0, 4.0)

    def verdict(before, after, last):
        found = training._verdict(training.Trained(before, after, last), control, 2.5)
        return found and found[0]

    assert verdict(5.5, 3.0, 2.9) is None
    assert verdict(5.5, 2.2, 2.9) == "training.too_good"
    assert verdict(5.5, 3.0, 2.2) == "training.too_good"
    assert verdict(5.5, 5.45, 5.4) == "training.flat"
    assert verdict(5.5, 4.2, 4.2) == "training.slow"
    assert verdict(4.5, 3.9, 3.9) == "training.slow"


def test_control_and_table_are_what_they_say():
    control = training.control_run(0)
    assert control.before < math.log(256)  # an embedding finds repeated letters untrained
    assert control.gain > training.LEARNS
    assert training.bigram_loss() < control.after < control.before


def test_calls_are_counted():
    block = replying_with_pairs(load_block((ZOO / "good/weight_tied_recurrence.py").read_text()))
    short, double = count_cost(block, 64, 64), count_cost(block, 64, 128)
    assert double.calls / short.calls == pytest.approx(2, rel=0.05)
    assert double.operations / short.operations == pytest.approx(2, rel=0.05)


# --- workers and replies ---


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("while True: pass", "check.timeout"),
        ("X.new_ones(1 << 40)", "check.memory"),
        # Allowed Python that overflows the interpreter's own stack.
        (
            "n = iter(())\n        for _ in range(10**6): n = enumerate(n)\n        next(n)",
            "check.crashed",
        ),
    ],
)
def test_a_worker_that_does_not_end_is_a_finding(executor, tmp_path, line, code):
    source = with_line("q, k, v =", line)
    limits = judged(Limits(wall_s=4 if code == "check.timeout" else 60))
    outcome = executor.submit(audit.AUDIT, {"source": source}, tmp_path, limits).result(250)
    (found,) = audit.read_outcome(outcome).report.findings
    assert (found.code, found.advice) == (code, ADVICE[code])


GOOD_REPLY = {"report": CheckReport().to_json(), "facts": {}, "machine_findings": []}


def machine(code, severity="error", **more):
    found = {"code": code, "severity": severity, "message": "", "advice": "", **more}
    return {**GOOD_REPLY, "machine_findings": [found]}


def measured(**measurements):
    return {**GOOD_REPLY, "report": {"findings": [], "measurements": measurements}}


def nested(levels):
    return [nested(levels - 1)] if levels else []


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {**GOOD_REPLY, "report": {"findings": [{"code": "x"}], "measurements": {}}},
        {**GOOD_REPLY, "facts": {"seconds": "fast"}},
        machine("no.such"),
        machine("cost.slow", severity="fine"),
        machine("cost.slow", line="3"),
        machine("cost.slow", evidence=[["ratio", 2.0]]),
        machine("cost.slow", evidence={"ratio": math.inf}),
        machine("cost.slow", evidence={"ratio": nested(600)}),
        measured(receptive_field=math.nan),
        measured(probe=nested(600)),
        measured(parameters_per_block="many"),
        measured(training={"untrained": 1.0}),
        {**GOOD_REPLY, "facts": ["seconds"]},
        {**GOOD_REPLY, "facts": {"seconds": "nan"}},
        {**GOOD_REPLY, "facts": {"seconds": 10**400}},
    ],
)
def test_a_reply_of_another_form_is_no_pass(reply):
    assert audit.read_outcome(Outcome("ok", GOOD_REPLY)).report.passed
    report = audit.read_outcome(Outcome("ok", reply)).report
    assert [each.code for each in report.findings] == ["check.bad_reply"]
    assert not report.passed


def test_a_reply_that_is_malformed_at_length_is_told_briefly():
    report = audit.read_outcome(Outcome("ok", machine("cost.slow", **{"x" * 10**6: 1}))).report
    assert len(report.findings[0].message) < 400


class Burrowing:
    """An executor whose jobs leave folders in folders, deeper than Python calls itself."""

    def submit(self, target, payload, scratch, limits):
        self.scratch, place = scratch, os.open(scratch, os.O_RDONLY)
        for _ in range(1500):
            os.mkdir("d", dir_fd=place)
            inner = os.open("d", os.O_RDONLY, dir_fd=place)
            os.close(place)
            place = inner
        os.close(place)
        future = Future()
        future.set_result(Outcome("ok", GOOD_REPLY))
        return future


def test_an_audit_leaves_nothing_behind_however_deep_its_job_dug(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    executor = Burrowing()
    try:
        assert audit.audit(audit.Target("x.py", "x"), executor).report.passed
        assert executor.scratch.parent == tmp_path
        assert not list(tmp_path.iterdir())
    finally:
        remove(executor.scratch)


def test_the_text_puts_errors_first_and_quotes_the_line():
    warning = finding("cost.loop", "Slow.", {}, severity="warning")
    error = finding("gradient.missing", "Unused.", {"blocks": 2}, place=("Block", 2))
    report = CheckReport((warning, error))
    text = brief(report, name="x.py", source="a\n  self.spare = 1\n")
    first = "1. error gradient.missing at line 2 in Block\n     | self.spare = 1\n"
    assert text.startswith(f"x.py: failed (1 error, 1 warning)\n\n{first}")
    assert text.index("gradient.missing") < text.index("cost.loop")
    many = brief(CheckReport((error,) * 9), name="x.py")
    assert "... and 3 more" in many
