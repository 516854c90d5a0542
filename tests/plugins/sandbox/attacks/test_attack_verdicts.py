"""With the language switched off, the next layers hold: no verdict changes, nothing is reached.

Each attack stands in a block that sees the future, and is checked as a run checks it, judge and
block in two processes.
"""

import ast
import json
import random
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest
from attack_kinds import KINDS
from exhaustive import exhaustive

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # where the support of the sandbox's tests lies

from sandbox_support import LIMITS, assert_nothing_lives, need  # noqa: E402

from genesys_engine.gab.checks.sourcemap import SourceMap  # noqa: E402
from genesys_engine.gab.checks.static import check_source  # noqa: E402
from genesys_engine.plugins import auditor  # noqa: E402
from genesys_engine.plugins.sandbox import Limits, SandboxHost  # noqa: E402

pytestmark = pytest.mark.slow

PRELOAD = ("torch", "torch._dynamo", "genesys_engine.plugins.auditor.run")
SAMPLE, SEED = 5, 7
LANGUAGE = {"static.import", "static.interpreter", "static.attribute", "patch.outside"}
# Ordinary Python: what they do is for the judge alone to see.
FUNCTIONS = {
    *("by an exit", "by a lack of memory", "by a lack of the machine"),
    *("by the dtype", "by the mode", "by the recording", "by the batch", "by the length"),
    *("by a memory of shapes", "by the first calls", "by chance"),
    *("by a gradient", "by what is nowhere", "by one row for all", "by words"),
}

BLOCK = """
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

SECRET = {secret!r}
VICTIM = {victim!r}
SEEN, FOUND = {{}}, []
X0 = 1


class Mixer(nn.Module):
    def __init__(self, width, device=None, dtype=None):
        super().__init__()
        self.proj = nn.Linear(width, width, device=device, dtype=dtype)

    def causal(self, X):
        count = torch.arange(1, X.shape[1] + 1, device=X.device, dtype=X.dtype)[:, None]
        return self.proj(X.cumsum(1) / count)

    def leak(self, X):
        return self.causal(X) + X.mean(1, keepdim=True)

    def forward(self, X):
{body}
        return self.leak(X)


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc=(0, 1), device=None, dtype=None):
        super().__init__()
        self.norm = nn.RMSNorm(embed_dim, device=device, dtype=dtype)
        self.mixer = Mixer(embed_dim, device, dtype)

    def forward(self, X, **Z):
        return X + self.mixer(self.norm(X)), Z


{lines}
"""


class Attack(NamedTuple):
    """One attack: Python for the end of the module, or for the forward."""

    name: str
    group: str
    lines: str


def _attacks():
    module = ast.parse((HERE / "verdict_attacks.py").read_text("utf-8"))
    for group in (node for node in module.body if isinstance(node, ast.ClassDef)):
        for each in group.body:
            if isinstance(each, ast.Expr):  # a docstring
                continue
            lines = "\n".join(map(ast.unparse, each.body))
            yield Attack(each.name.replace("_", " "), group.name, lines)


ATTACKS = list(_attacks())
MACHINE = [each for each in ATTACKS if each.group == "TheMachine"]
PROCESS = [each for each in ATTACKS if each.group == "InForwardLookingAtTheProcess"]
VERDICTS = [each for each in ATTACKS if each not in MACHINE + PROCESS]
NET = random.Random(SEED).sample([k for k in KINDS if "import *" not in k.source], SAMPLE)


def source_of(attack, folder):
    files = {"secret": str(folder / "secret"), "victim": str(folder / "victim")}
    in_forward = attack.group.startswith("In")
    indented = textwrap.indent(attack.lines, "        " if in_forward else "")
    body, lines = (indented, "") if in_forward else ("        pass", indented)
    return BLOCK.format(body=body, lines=lines, **files)


@pytest.fixture(scope="module")
def host():
    host = SandboxHost(workers=1, preload=PRELOAD)
    yield host
    host.close()


@pytest.fixture
def check(host, tmp_path):
    """Check a block without the language; nothing outside changes and nothing lives on."""
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("secret", "victim"):
        (outside / name).write_text(f"text of the {name}")

    def check(attack):
        source = source_of(attack, outside)
        compile(source, attack.name, "exec")
        payload = {"source": source, "vocab_size": 64, "seed": 0, "scales": ["0.2M"]}
        limits = Limits(**LIMITS | {"memory_bytes": 2 << 30}, subject=auditor.SERVED)
        job = host.submit("attack_jobs:check_without_net", payload, tmp_path / "job", limits)
        outcome = job.result(250)
        assert_nothing_lives(host.template_pid)
        assert "text of the secret" not in json.dumps([outcome.value, outcome.reason])
        assert sorted(path.name for path in outside.iterdir()) == ["secret", "victim"]
        assert (outside / "victim").read_text() == "text of the victim"
        return outcome

    return check


def errors(outcome):
    found = (outcome.value or {}).get("findings", [])
    return {each["code"] for each in found if each["severity"] == "error"}


def is_named(attack):
    return f"{attack.group}-{attack.name}"


@pytest.mark.parametrize("attack", exhaustive(VERDICTS, but=VERDICTS[::3]), ids=is_named)
def test_no_verdict_changes(check, attack):
    outcome = check(attack)
    assert outcome.status != "ok" or not outcome.value["passed"]
    if outcome.status == "ok":
        assert outcome.value["marked"] == []
        assert errors(outcome)


@pytest.mark.parametrize("attack", MACHINE, ids=is_named)
def test_the_machine_is_out_of_reach(check, attack):
    need("standard")
    outcome = check(attack)
    assert outcome.status == "ok"
    assert errors(outcome) == {"load.error"}  # the call was refused where it stood


@pytest.mark.parametrize("attack", PROCESS, ids=is_named)
def test_a_look_at_the_process_is_refused_before_it_runs(attack, tmp_path):
    source = source_of(attack, tmp_path)
    assert {each.code for each in check_source(source, SourceMap(source))} & LANGUAGE


@pytest.mark.parametrize("attack", [*VERDICTS, *MACHINE], ids=is_named)
def test_the_language_refuses_all_that_is_no_function_of_tensors(attack, tmp_path):
    source = source_of(attack, tmp_path)
    codes = {each.code for each in check_source(source, SourceMap(source))} & LANGUAGE
    assert bool(codes) != (attack.name in FUNCTIONS)


@pytest.mark.parametrize("kind", NET, ids=is_named)
def test_what_the_net_lets_through_changes_no_verdict(check, kind):
    tried = kind.source.replace("{secret!r}", "SECRET").replace("{victim!r}", "VICTIM")
    lines = f"try:\n{textwrap.indent(tried, '    ')}\nexcept BaseException:\n    pass"
    outcome = check(Attack(kind.name, kind.group, lines))
    assert outcome.status == "ok"
    assert "causality.leak" in errors(outcome) or "patch.outside" in errors(outcome)
    assert outcome.value["marked"] == []


def test_the_block_of_the_attacks_leaks_and_nothing_else(check):
    assert errors(check(Attack("none", "none", ""))) == {"causality.leak"}
