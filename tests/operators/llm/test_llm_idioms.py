"""Idioms: shown where a change speaks of them, and each of them runs."""

import re

import torch
import torch.nn.functional as F  # noqa: F401 - the idioms name it
from torch import nn  # noqa: F401

from genesys_engine.gab import library
from genesys_engine.operators.llm.idioms import _IDIOMS, idioms


def test_they_follow_the_change():
    mlp = library.unit("swiglu_mlp").source
    assert idioms("Replace the units by others.", mlp) == []
    found = idioms("Add a depthwise convolution over time.", mlp)
    assert len(found) == 1
    assert "F.pad(h.transpose(1, 2), (k - 1, 0))" in found[0]


def test_a_unit_with_heads_gets_the_way_to_join_them():
    attention = library.unit("causal_attention").source
    assert "heads joined" in idioms("Change it.", attention)[0]


def test_every_idiom_runs():
    for _, text in _IDIOMS:
        names = {"self": type("Unit", (), {})(), "k": 3, "c": 8, "e": 8, "device": None}
        names |= {"dtype": torch.float64, "h": torch.randn(2, 5, 8, dtype=torch.float64)}
        names["y"] = names["h"]
        for code in re.findall(r"`([^`]*)`", text):
            if code not in ("__init__", "forward"):
                if code.startswith("torch.cat"):
                    code = f"h = {code}"
                exec(code, {**globals()}, names)
        assert names["h"].shape == (2, 5, 8)
