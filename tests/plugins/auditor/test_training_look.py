"""A block is slow only where a longer look confirms it, and in the numbers of that look."""

from pathlib import Path

import pytest
import torch

from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.plugins.auditor import training
from genesys_engine.plugins.auditor.audit import Order
from genesys_engine.plugins.auditor.candidate import here
from genesys_engine.plugins.auditor.here import audit_block
from genesys_engine.plugins.auditor.subject import Subject

torch.set_num_threads(1)
ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "experiments/bench/audit_corpus"


def source_of(path):
    return path.read_text("utf-8")


def check(source, width=64):
    subject = Subject(here(source), SourceMap(source), 128, 0, width)
    measured = {}
    return list(training.check_training(subject, measured)), measured["training"]


def test_a_block_that_is_behind_at_first_and_ahead_later_is_sound():
    found, measured = check(
        source_of(CORPUS / "sound/normed_output_without_a_feedforward.py").replace(
            "self.out(Y", "4 * self.out(Y"
        )
    )
    assert measured["trained"] > training.control_run(0).after
    assert measured["trained_longer"] < training.control_run(0, training.LONGER_STEPS).after
    assert found == []


@pytest.mark.parametrize("name", ["training.slow.turned_over", "training.slow.noise_by_position"])
def test_a_slow_block_is_behind_in_the_numbers_that_it_is_shown(name):
    ((found,), _) = check(source_of(CORPUS / f"defective/{name}.py"))
    assert found.code == "training.slow"
    assert found.evidence["trained_longer"] > found.evidence["control_longer"]
    assert found.evidence["tokens"] == training.LONGER_STEPS * training.BATCH * training.LENGTH
    assert f"{found.evidence['control_longer']:.2f}" in found.message


def test_a_reversed_gradient_stays_flat_however_long_one_looks():
    source = source_of(ROOT / "tests/zoo/bad/training.flat.gradient_reversed.py")
    slope, flat = audit_block(Order(source, d_model=64)).report.findings
    assert (slope.code, flat.code) == ("gradient.differs", "training.flat")
    assert slope.evidence["outputs"] * slope.evidence["gradient"] < 0


def test_the_trained_model_is_probed_for_leaks_in_both_of_its_layers():
    source = source_of(ROOT / "tests/zoo/bad/causality.leak.in_layer_1_only.py")
    subject = Subject(here(source), SourceMap(source), 128, 0, 64, blocks=1)
    (found,) = training.check_training(subject, {})
    assert found.code == "causality.leak"
    assert (found.evidence["layer"], found.evidence["parameters"]) == (1, "trained")


def windows(rows):
    return {tuple(row) for row in rows.flatten(0, -2).tolist()}


def test_what_a_training_is_judged_by_is_shown_once_when_it_has_ended(monkeypatch):
    source = source_of(CORPUS / "defective/training.slow.turned_over.py")
    subject = Subject(here(source), SourceMap(source), 128, 0, 64)
    asked, real = [], subject.candidate._asked.ask_all

    def ask_all(questions):
        asked.extend((each.operation, each.tensors) for each in questions)
        return real(questions)

    monkeypatch.setattr(subject.candidate._asked, "ask_all", ask_all)
    assert [found.code for found in training.check_training(subject, {})] == ["training.slow"]
    told = [each for each in asked if each[0] in ("train", "logits")]
    assert [operation for operation, _ in told] == ["train", "logits", "logits"] * 2
    trained = [windows(tensors[0]) for operation, tensors in told if operation == "train"]
    judged = [windows(tensors[0]) for operation, tensors in told if operation == "logits"]
    assert all(len(each) == 8 for each in judged)
    assert judged[0] == judged[1], "the same, to an untrained one"
    assert judged[2] == judged[3]
    assert not judged[0] & judged[2]
    assert not (trained[0] | trained[1]) & (judged[0] | judged[2])
