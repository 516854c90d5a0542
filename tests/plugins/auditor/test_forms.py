"""Blocks of another form than the contract's, and everything that the static look says at once."""

import re
import sys
from pathlib import Path

import commands
import pytest
import torch

from genesys_engine.engine.cli.block_template import TEMPLATE
from genesys_engine.gab.checks.adapter import adapted
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.checks.static import check_static, choose_class
from genesys_engine.gab.compose import load_block
from genesys_engine.plugins.auditor.audit import Order
from genesys_engine.plugins.auditor.here import audit_block

torch.set_num_threads(1)

MIXER = """
import torch
from torch import nn


class MyMixer(nn.Module):
    def __init__({parameters}):
        super().__init__()
        self.mix = nn.GRU(dim, dim, batch_first=True{handed})

    def forward({inputs}):
        return x + self.mix(x)[0]
"""


def mixer(parameters="self, dim", inputs="self, x", handed=""):
    return MIXER.format(parameters=parameters, inputs=inputs, handed=handed)


def audit(source, **more):
    return audit_block(Order(source, class_name="", adapt=True, d_model=32, **more)).report


@pytest.mark.parametrize(
    ("parameters", "inputs", "handed"),
    [
        ("self, dim", "self, x", ""),
        ("self, *, dim", "self, x", ""),
        ("self, mode='fast', dim=1024", "self, x", ""),
        ("self, dim, heads=4", "self, hidden_states, mask=None", ""),
        ("self, dim, **factory", "self, x", ", **factory"),
        ("self, dim, device=None, dtype=None", "self, x, **Z", ", device=device, dtype=dtype"),
        ("self, dim, dtype=None", "self, x", ", dtype=dtype"),
        ("self, dim, block_loc", "self, x, first=None", ""),
    ],
)
def test_every_form_is_audited_as_it_is(parameters, inputs, handed):
    source = mixer(parameters, inputs, handed).replace("x + self.mix(x)", "X + self.mix(X)")
    name = inputs.split(",")[1].strip()
    source = source.replace("X + self.mix(X)", f"{name} + self.mix({name})")
    report = audit(source, level="fast")
    assert [str(each) for each in report.findings] == []
    leaking = source.replace(f"self.mix({name})[0]", f"self.mix({name})[0].mean(1, keepdim=True)")
    assert [each.code for each in audit(leaking, level="fast").findings] == ["causality.leak"]


def test_numbers_are_brought_to_the_dtype_that_is_asked_for():
    source = mixer().replace(
        "super().__init__()\n",
        "super().__init__()\n        self.c = nn.Parameter(torch.ones(2, dtype=torch.complex64))\n"
        "        self.register_buffer('order', torch.arange(3))\n",
    )
    block = adapted(load_block(source, "MyMixer"))(16, (0, 2), dtype=torch.float64)
    assert block.mix.weight_hh_l0.dtype == torch.float64
    assert (block.c.dtype, block.order.dtype) == (torch.complex128, torch.int64)
    assert adapted(load_block(source, "MyMixer"))(16, (0, 2), device="meta").c.is_meta


@pytest.mark.parametrize(
    ("lines", "chosen"),
    [
        ("", "MyMixer"),
        ("class Model(nn.Module):\n    def f(self):\n        self.m = MyMixer(3)", "Model"),
        ("class Block(nn.Module):\n    pass", "Block"),
        ("class Better(MyMixer):\n    pass", "Better"),
        ("class Other(nn.Module):\n    pass", ""),
        ("class Options:\n    pass", "MyMixer"),
        ("class Test(nn.Module):\n    pass\nif __name__ == '__main__':\n    Test()", ""),
        ("if __name__ == '__main__':\n    MyMixer(3)", "MyMixer"),
    ],
)
def test_the_only_module_is_meant_where_nobody_names_one(lines, chosen):
    assert choose_class(f"{mixer()}\n\n{lines}\n") == chosen


def test_several_modules_are_named_to_choose_from():
    source = mixer() + "\n\nclass Other(nn.Module):\n    def forward(self, x):\n        return x\n"
    (found,) = audit(source).findings
    assert found.code == "static.no_class"
    assert "MyMixer" in found.message
    assert "Other" in found.message


def test_all_static_faults_are_said_at_once():
    source = "import os\n" + mixer("self, dim, heads", "self, x, mask").replace(
        "super().__init__()", "super().__init__()\n        self.spare = nn.Linear(1, 1)"
    )
    found = check_static(source, "MyMixer", SourceMap(source), adapt=True)
    assert [(each.code, each.line) for each in found] == [
        ("static.import", 1),
        ("static.constructor", 8),
        ("static.forward", 13),
        ("static.unused", 10),
    ]


def test_without_an_adapter_the_contract_is_asked_for():
    found = check_static(mixer(), "MyMixer", SourceMap(mixer()))
    assert [each.code for each in found] == ["static.constructor"]


def test_the_template_passes_and_the_command_prints_it():
    command = [sys.executable, "-m", "genesys_engine", "check", "--template"]
    printed = commands.run(command, check=True).stdout
    assert printed == TEMPLATE
    report = audit_block(Order(TEMPLATE, d_model=48)).report
    assert [str(each) for each in report.findings] == []


def test_a_config_in_the_place_of_a_width_is_explained():
    source = mixer("self, config").replace("super()", "dim = config.hidden_size\n        super()")
    (found,) = audit(source, level="fast").findings
    assert found.code == "build.error"
    assert found.line == source.split("\n").index("        dim = config.hidden_size") + 1
    assert "width" in found.advice


def test_the_wrapper_of_the_page_passes_and_what_it_wraps_is_refused_with_a_word():
    page = (Path(__file__).parents[3] / "docs/auditor.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    report = audit(code)
    assert [str(each) for each in report.findings] == []
    bare = audit_block(Order(code, class_name="Layer", adapt=True)).report
    (found,) = bare.findings
    assert found.code == "static.forward"
    assert "attention_mask" in found.message


def test_parameters_that_ignore_their_dtype_are_one_finding():
    source = mixer("self, dim, device=None, dtype=None")
    (found,) = audit(source, level="full").findings
    assert (found.code, found.evidence["parameters"]) == ("build.options", 4)
