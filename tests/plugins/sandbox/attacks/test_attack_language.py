"""Every kind of attack that the language must stop is refused before anything of it runs.

The kinds and their variants go through the checks of a run and of an audit; had one run, it would
be another finding.
"""

import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from attack_kinds import KINDS
from attack_variants import PLACES, deeper_variants, every_variant

from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.checks.static import check_source
from genesys_engine.plugins.auditor.audit import Order
from genesys_engine.plugins.auditor.here import audit_block, check_block

ROOT = Path(__file__).parents[4]
HONEST = (ROOT / "tests/zoo/good/causal_attention.py").read_text("utf-8").rstrip()
# Imports that attacks use, and a line that fails as soon as anything runs.
SHORT = """
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

X0 = 1 / 0
"""
HEAD = f"{HONEST}\n\n{SHORT}"
LANGUAGE = {"static.import", "static.interpreter", "static.attribute", "patch.outside"}
NET = [kind for kind in KINDS if kind.stopped_by == "net"]


def attack(source, folder):
    secret, victim = str(folder / "secret"), str(folder / "victim")
    return HEAD + source.replace("{secret!r}", repr(secret)).replace("{victim!r}", repr(victim))


def errors(source):
    return [each for each in check_source(source, SourceMap(source)) if each.severity == "error"]


@pytest.mark.parametrize("kind", NET, ids=lambda kind: f"{kind.group}-{kind.name}")
def test_a_kind_is_refused_at_its_line_before_anything_runs(kind, tmp_path):
    source = attack(kind.source, tmp_path) + "\n"
    for report in (
        check_block(source, vocab_size=64, seed=0, scales=["0.2M"]),
        audit_block(Order(source, level="fast")).report,
    ):
        codes = {each.code for each in report.findings}
        assert codes & set(kind.codes), report.findings
        assert codes <= LANGUAGE
        assert all(each.line > HEAD.count("\n") for each in report.findings)
        assert not report.passed
    assert not hasattr(torch, "MARK")
    assert not hasattr(torch.nn.Linear, "MARK")
    assert list(tmp_path.iterdir()) == []


def test_every_class_of_constructs_has_its_kinds():
    groups = Counter(kind.group for kind in KINDS)
    assert len(KINDS) >= 200
    assert len(groups) >= 16
    assert min(groups.values()) >= 4
    assert len({(kind.group, kind.name, kind.codes) for kind in KINDS}) == len(KINDS)
    assert len({kind.source for kind in KINDS}) == len(KINDS)


def test_every_variant_is_refused():
    found = {each.name: {e.code for e in errors(SHORT + each.source)} for each in every_variant()}
    assert [name for name, codes in found.items() if not codes & LANGUAGE] == []
    assert len(found) > 9_000
    assert {place for place in PLACES if any(name.endswith(place) for name in found)} == set(PLACES)


@pytest.mark.parametrize("seed", range(4))
def test_every_deeper_variant_is_refused(seed):
    variants = deeper_variants(300, seed)
    found = {each: {e.code for e in errors(SHORT + each.source)} for each in variants}
    assert [each for each, codes in found.items() if not codes & LANGUAGE] == []


def test_a_finding_says_what_to_write():
    source = HEAD + "try:\n    1\nexcept ValueError as error:\n    kept = error\n"
    (found,) = errors(source)
    assert re.search(r"str\(error\)", found.advice)
    assert found.line == source.count("\n")


@pytest.mark.parametrize("place", PLACES)
def test_what_stands_around_the_attacks_is_ordinary_python(place):
    source = SHORT.replace("1 / 0", "1") + PLACES[place].format("X0")
    assert [str(each) for each in errors(source)] == []
