"""What PyTorch or the processor lacks is told as such, and a block's own fault as its own."""

import os
import sys
from pathlib import Path

import commands
import pytest
import torch

from genesys_engine.gab.checks.machine import lacking_here
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.compose import load_block
from genesys_engine.gab.model import LanguageModel
from genesys_engine.gab.raised import describe
from genesys_engine.gab.scales import ModelConfig
from genesys_engine.plugins.api import TrainBudget
from genesys_engine.plugins.auditor import modes, precision
from genesys_engine.plugins.auditor.audit import Order
from genesys_engine.plugins.auditor.candidate import here
from genesys_engine.plugins.auditor.here import audit_block, check_block
from genesys_engine.plugins.auditor.subject import Subject
from genesys_engine.plugins.trainers.options import TrainerOptions
from genesys_engine.plugins.trainers.recipe import make_optimizer, set_rates

torch.set_num_threads(1)
CORPUS = Path(__file__).parents[3] / "experiments/bench/audit_corpus"
FLEX = (CORPUS / "defective/machine.unsupported.flex_attention.py").read_text("utf-8")
LSTM = (CORPUS / "sound/lstm.py").read_text("utf-8")
SOLVE = (CORPUS / "defective/autocast.error.solve_in_bfloat16.py").read_text("utf-8")
COMPLEX = (CORPUS / "sound/complex_eigenvalues.py").read_text("utf-8")
ATTENTION = (Path(__file__).parents[2] / "zoo" / "good/causal_attention.py").read_text("utf-8")


def with_line(line):
    before = "q, k, v ="
    assert before in ATTENTION
    return ATTENTION.replace(before, f"{line}\n        {before}", 1)


def subject(source):
    return Subject(here(source), SourceMap(source), 64, 0, 32)


def test_flex_attention_is_a_limit_of_the_machine_at_its_line():
    (found,) = audit_block(Order(FLEX, d_model=32)).report.findings
    assert found.code == "machine.unsupported"
    assert "flex_attention(" in FLEX.split("\n")[found.line - 1]


def test_dynamo_may_mark_modules_and_nobody_else():
    """In a process of its own: dynamo marks them once."""
    script = f"""
from torch import nn
from genesys_engine.plugins.auditor.audit import Order
from genesys_engine.plugins.auditor.here import audit_block
from genesys_engine.plugins.auditor.untouched import remember
changed = remember()
audit_block(Order({FLEX!r}, d_model=32, level="fast"))
assert "tag" in nn.Module.__init__.__closure__[0].cell_contents.__name__ or \\
    nn.Module.__init__.__name__ == "patched_init"
assert changed(True) == ""
original = nn.Module.__init__
def patched_init(self, *args, **kwargs):
    original(self, *args, **kwargs)
nn.Module.__init__ = patched_init
assert changed(True) == "Module"
"""
    commands.run([sys.executable, "-c", script], check=True, timeout=250)


def test_a_verdict_does_not_depend_on_what_one_dnn_has_for_the_processor():
    script = f"""
import torch
from torch import nn
torch.set_num_threads(1)
try:
    with torch.autocast("cpu", torch.bfloat16):
        nn.LSTM(8, 8)(torch.randn(3, 2, 8))
except RuntimeError as error:
    print("lacking:", str(error)[:30])
from genesys_engine.plugins.auditor.audit import Order
from genesys_engine.plugins.auditor.here import audit_block
found = audit_block(Order({LSTM!r}, d_model=32))
print([each.code for each in (*found.report.findings, *found.machine_findings)])
"""
    older = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    told = commands.run([sys.executable, "-c", script], env=older, check=True, timeout=250)
    lines = told.stdout.splitlines()
    assert lines[-1] == "[]"
    if lines[0].startswith("lacking:"):  # a processor on which oneDNN may be so limited
        assert "primitive" in lines[0]


RAISES = """if X.dtype == torch.float32 and torch.is_autocast_enabled("cpu"):
            raise NotImplementedError("\\"f_cpu\\" not implemented for 'BFloat16'")"""


def test_a_kernel_that_only_cpus_lack_stands_outside_the_report(monkeypatch):
    def lacks(block, X):
        raise NotImplementedError("\"some_cpu\" not implemented for 'BFloat16'")

    monkeypatch.setattr(precision, "_backward_under_autocast", lacks)
    found = audit_block(Order(ATTENTION, d_model=32))
    assert found.report.passed
    assert [(f.code, f.severity) for f in found.machine_findings] == [
        ("machine.unsupported", "warning")
    ]
    report = check_block(ATTENTION, vocab_size=64, seed=0, scales=["0.2M"])
    assert report.passed
    assert "machine.unsupported" not in {each.code for each in report.findings}


def test_a_block_cannot_blame_the_machine():
    (found,) = modes.check_autocast(subject("import torch\n" + with_line(RAISES)))
    assert (found.code, found.severity) == ("autocast.error", "error")


def test_what_no_device_has_is_the_blocks_to_cast():
    found = audit_block(Order(SOLVE, d_model=32))
    assert [each.code for each in found.report.findings] == ["autocast.error"]
    assert found.machine_findings == ()


@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (NotImplementedError("\"histc_cpu\" not implemented for 'Half'"), True),
        (RuntimeError("could not create a primitive descriptor for the LSTM"), True),
        (NotImplementedError("\"cholesky_cpu\" not implemented for 'BFloat16'"), False),
        (NotImplementedError("\"linalg_svd_cpu\" not implemented for 'BFloat16'"), False),
        (NotImplementedError("\"bitwise_and_cpu\" not implemented for 'Float'"), False),
        (RuntimeError("mat1 and mat2 must have the same dtype"), False),
        (ValueError("does not support backward on CPU"), False),
    ],
)
def test_exceptions_are_told_apart(error, lacks):
    assert bool(lacking_here(describe(error))) == lacks


def test_complex_parameters_are_built_probed_and_trained():
    found = audit_block(Order(COMPLEX, d_model=32))
    assert [str(each) for each in found.report.findings] == []
    assert found.report.measurements["training"]["trained"] < 5
    single = COMPLEX.replace("real.to_complex()", "torch.complex64")
    (found,) = audit_block(Order(single, d_model=32)).report.findings
    assert (found.code, found.evidence["wanted"]) == ("build.options", "dtype float64")


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_model_of_complex_numbers_is_trained_by_every_recipe(optimizer):
    model = LanguageModel(load_block(COMPLEX), ModelConfig(16, 1, 8, 8))
    budget = TrainBudget(tokens=1000, batch_tokens=256, peak_lr=3e-3, seed=0)
    stepper = make_optimizer(model, budget, TrainerOptions(optimizer=optimizer))
    set_rates(stepper, 1.0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model(torch.randint(8, (2, 4))).square().mean().backward()
    stepper.step()
    assert all(not torch.equal(before[name], p) for name, p in model.named_parameters())
