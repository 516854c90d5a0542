"""The line of a finding is that of the operation whose output is the first to differ."""

from pathlib import Path

import pytest
import torch

from genesys_engine.plugins.auditor.audit import Order
from genesys_engine.plugins.auditor.here import audit_block

torch.set_num_threads(1)
ZOO = Path(__file__).parents[2] / "zoo"
CORPUS = ZOO.parents[1] / "experiments/bench/audit_corpus/defective"
ATTENTION = (ZOO / "good/causal_attention.py").read_text("utf-8")

# block -> what stands on the line that is to blame
LINES = {
    "batch.mixed.batch_norm": "self.bn(",
    "batch.mixed.softmax_over_the_batch": "softmax(dim=0)",
    "causality.leak.above_a_chunk": "second.mean(1",
    "causality.leak.argsort_over_time": "argsort(dim=1)",
    "causality.leak.attention_without_a_mask": "scaled_dot_product_attention",
    "causality.leak.bidirectional_recurrence": "self.rnn(",
    "causality.leak.convolution_padded_on_both_sides": "self.conv(",
    "causality.leak.even_function_of_the_future": "flip(1).cumsum",
    "causality.leak.expert_choice_routing": "topk(",
    "causality.leak.in_training_only": "X.mean(1",
    "causality.leak.in_layer_1_only": "X.mean(1",
    "causality.leak.mask_after_the_softmax": "softmax(-1)",
    "causality.leak.mask_off_by_one": "softmax(-1)",
    "causality.leak.normalised_by_the_total": "weights.sum(1",
    "causality.leak.pooled_and_spread": "mean(2)",
    "causality.leak.quantile_over_time": "median(dim=1",
    "causality.leak.roll_wraps_around": "torch.roll",
    "causality.leak.shift_to_the_wrong_side": "[:, 1:]",
    "causality.leak.the_last_token_faintly": "X[:, -1:]",
    "causality.leak.through_z": "flip(1).cumsum",
    "causality.leak.whole_chunk_attention": "softmax(-1)",
    "determinism.random.noise_in_eval": "randn_like",
    "mode.differs.scaled_in_training": "Y = ",
    "output.nonfinite.logarithm_of_negatives": "X.log()",
    "output.overflow.exponentials_unbounded": "exp(",
    "state.kept.cache_of_keys": "self.keys",
    "state.kept.running_mean_in_an_attribute": "self.last",
}


@pytest.mark.parametrize("name", LINES)
def test_a_finding_names_the_line_of_its_cause(name):
    source = (ZOO / f"bad/{name}.py").read_text("utf-8")
    found = audit_block(Order(source, d_model=64)).report.findings[0]
    assert found.code == ".".join(name.split(".")[:2])
    assert LINES[name] in source.split("\n")[found.line - 1]
    assert found.unit is not None


def test_a_plain_module_too():
    source = (CORPUS / "causality.leak.in_a_plain_module.py").read_text("utf-8")
    order = Order(source, class_name="", adapt=True, d_model=128)  # as wide as long
    (found,) = audit_block(order).report.findings
    assert ".mean(1" in source.split("\n")[found.line - 1]


@pytest.mark.parametrize(
    "harmless",
    [
        "X = X.flip(1).flip(1)",
        "X = X + 0 * X.flip(1).cumsum(1).flip(1).flip(1).flip(1)",
        "X = torch.cat([X, X], 1)[:, :T]",
        "X = torch.stack([X[:, t] for t in range(T)], 1)",
        "H = X.clone()\n        H[:, 1:] = X[:, 1:]\n        X = H",
        "_ = X.mean(1)",
    ],
)
def test_what_only_looks_like_a_leak_is_not_blamed(harmless):
    before = "q, k, v ="
    source = "import torch\n" + ATTENTION.replace(
        before, f"{harmless}\n        X = X + X.amax(1, keepdim=True)\n        {before}", 1
    )
    (found,) = audit_block(Order(source, d_model=64, level="fast")).report.findings
    assert found.code == "causality.leak"
    assert "amax" in source.split("\n")[found.line - 1]


def test_a_write_into_a_slice_is_found():
    source = "import torch\n" + ATTENTION.replace(
        "q, k, v =", "X = X.clone()\n        X[:, :-1] += 0.1 * X[:, 1:]\n        q, k, v =", 1
    )
    (found,) = audit_block(Order(source, d_model=64, level="fast")).report.findings
    assert "+=" in source.split("\n")[found.line - 1]


def test_a_helper_outside_of_classes_has_its_line_and_the_unit_that_called_it():
    source = "import torch\n" + ATTENTION.replace("q, k, v =", "X = level(X)\n        q, k, v =", 1)
    source += "\n\ndef level(X):\n    return X - X.mean(1, keepdim=True)\n"
    (found,) = audit_block(Order(source, d_model=64, level="fast")).report.findings
    assert found.line == source.count("\n")
    assert found.unit == "Mixer"
