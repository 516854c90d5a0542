"""Findings say where a wrong output was made, and what was there."""

from dataclasses import asdict

import torch
from test_checks import block

from genesys_engine.engine.check.audit import AuditResult, Target
from genesys_engine.engine.cli.audit_formats import Audited, sarif
from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.gab.checks.brief import brief
from genesys_engine.gab.checks.report import CheckReport, Finding
from genesys_engine.plugins.auditor.here import check_block

torch.set_num_threads(1)

CHILD = """
class Shift(nn.Module):
    def __init__(self, d, device=None, dtype=None):
        super().__init__()
        self.w = nn.Parameter(torch.ones(d, device=device, dtype=dtype))

    def forward(self, X, **Z):
        late = X[:, :-1] * self.w
        Y = late
        return Y, Z


class Mixer("""
WITH_CHILD = {"init": "self.shift = Shift(d, **kw)"}


def checked(body, init="", old="", new=""):
    source = block(body, init=init).replace("\nclass Mixer(", CHILD, 1)
    assert old in source
    source = source.replace(old, new) if old else source
    report = check_block(source, vocab_size=512, seed=0, scales=["0.2M"])
    assert not report.passed
    return report, source


def line_of(source, text):
    return source.split("\n").index(next(x for x in source.split("\n") if text in x)) + 1


def test_a_wrong_shape_is_laid_on_the_line_that_made_it():
    direct = "return self.mixer(X, **Z)"
    old = "return X + self.mlp(X), Z"
    report, source = checked("Y, Z = self.shift(mean)", **WITH_CHILD, old=old, new=direct)
    (found,) = report.findings
    assert found.code == "shape.wrong"
    assert (found.unit, found.line) == ("Shift", line_of(source, "late = X"))
    assert [call.unit for call in found.trace.calls] == ["Block", "Mixer", "Shift"]
    assert found.trace.calls[-1].held["late"] == "float32 (2, 0, 64)"


def test_a_wrong_dtype_and_a_reply_of_another_kind_have_their_line():
    old = "return X + self.mlp(X), Z"
    for new, code in (
        ("X = X.half()\n        return X, Z", "dtype.wrong"),
        ("return [X], Z, 1", "reply.wrong"),
    ):
        report, source = checked("Y = mean", old=old, new=new)
        (found,) = report.findings
        assert (found.code, found.unit) == (code, "Block")
        assert found.line == line_of(source, new.partition("\n")[0])


def test_who_had_returned_the_wrong_shape_is_named_where_another_fails():
    report, source = checked("Y, Z = self.shift(mean)\nY = X + Y.reshape(B, T, D)", **WITH_CHILD)
    (found,) = report.findings
    assert (found.code, found.unit) == ("forward.error", "Mixer")
    assert found.trace.calls[-1].code == "Y.reshape(B, T, D)"
    assert found.trace.returned.unit == "Shift"
    text = brief(report, name="x", source=source)
    assert "float32 (2, 0, 64)" in text


def test_a_parameter_made_in_forward_is_kept_state_at_its_line():
    """It was an exception of the check's own, without a place."""
    lazy = "if not hasattr(self, 'gain'):\n    self.gain = nn.Parameter(X.new_ones(D))\n"
    report, source = checked(f"{lazy}Y = X * self.gain + mean")
    (found,) = report.findings
    assert found.code == "state.kept"
    assert found.line == line_of(source, "self.gain = nn.Parameter")


def test_a_trace_passes_through_every_form_of_a_report():
    report, source = checked("Y = F.pad(X, (0, 0, 1, 0), constant_value=0)[:, :-1]")
    data = report.to_json()
    assert CheckReport.from_json(data) == report
    assert DesignReport.from_json(data).findings == report.findings
    (found,) = report.findings
    older = {k: v for k, v in asdict(found).items() if k != "trace"}
    assert Finding.from_json(older).trace is None
    audited = Audited(Target("block.py", source), AuditResult(report))
    (result,) = sarif([audited])["runs"][0]["results"]
    for text in (result["message"]["text"], brief(report, name="x", source=source)):
        assert "F.pad(input, pad, mode='constant', value=None)" in text
        assert "X float32 (2, 1, 64)" in text


def test_a_trace_of_another_form_is_no_report():
    report, _ = checked("Y = self.gian")
    data = report.to_json()
    for lie in ({"calls": [1]}, {**data["findings"][0]["trace"], "calls": [{"unit": 1}]}):
        data["findings"][0]["trace"] = lie
        try:
            DesignReport.from_json(data)
        except ValueError:
            continue
        raise AssertionError(lie)
