"""An audit in a worker that imported only what it needs comes to the report of one that has all."""

from pathlib import Path

import pytest

from genesys_engine.engine.check import audit
from genesys_engine.gab import library
from genesys_engine.gab.compose import compose
from genesys_engine.plugins.sandbox import SandboxHost

META = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, embed_dim, block_loc=(0, 1), device=None, dtype=None):
        super().__init__()
        self.mix = nn.Linear(embed_dim, embed_dim, device=device, dtype=dtype)

    def forward(self, X, **Z):
        shape = torch.where(torch.ones(2, device="meta") > 0, 1.0, 0.0).shape
        return X + self.mix(X).cumsum(1) / (1 + shape[0]), Z
"""


FLEX = """
from torch import nn
from torch.nn.attention.flex_attention import flex_attention

class Block(nn.Module):
    def __init__(self, embed_dim, block_loc=(0, 1), device=None, dtype=None):
        super().__init__()
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, device=device, dtype=dtype)

    def forward(self, X, **Z):
        Q, K, V = (part.unsqueeze(1) for part in self.qkv(X).chunk(3, -1))
        causal = lambda score, b, h, q, k: score.where(q >= k, float("-inf"))
        return X + flex_attention(Q, K, V, score_mod=causal).squeeze(1), Z
"""
SPECTRUM = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, embed_dim, block_loc=(0, 1), device=None, dtype=None):
        super().__init__()
        self.norm = nn.LayerNorm(embed_dim, device=device, dtype=dtype)
        self.kernel = nn.Parameter(torch.randn(4, embed_dim, device=device, dtype=dtype) * 0.1)

    def forward(self, X, **Z):
        size = 2 * X.shape[1]
        spectrum = torch.fft.rfft(self.norm(X), n=size, dim=1)
        spectrum = spectrum * torch.fft.rfft(self.kernel, n=size, dim=0)
        return X + torch.fft.irfft(spectrum, n=size, dim=1)[:, : X.shape[1]], Z
"""
# Called for on the meta device, and found in no PyTorch: the warning is the same.
VALUES = META.replace("shape = ", "scale = float(X.abs().amax() > 0)\n        shape = ")
WRITTEN = {"meta": META, "flex": FLEX, "spectrum": SPECTRUM, "values": VALUES}


@pytest.fixture(scope="module")
def hosts():
    both = [SandboxHost(workers=1, preload=p) for p in (audit.PRELOAD, audit.PRELOAD_ONCE)]
    yield both
    for host in both:
        host.close()


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("gpt", "full"),
        ("rwkv6", "full"),
        ("spectrum", "full"),
        ("values", "full"),
        ("ttt", "fast"),
        ("meta", "fast"),
        ("flex", "fast"),
    ],
)
def test_the_report_does_not_depend_on_what_was_imported(hosts, name: str, level: str) -> None:
    source = WRITTEN.get(name) or compose(library.seed(name))
    target = audit.Target(name, source)
    seed = audit.REFERENCE if level == "full" else ""
    whole, lean = (
        audit.audit(target, host, level=level, reference_seed=seed).report.to_json()
        for host in hosts
    )
    assert lean == whole


def test_check_has_said_a_line_before_its_answer(tmp_path: Path, capfd) -> None:
    from genesys_engine.engine.cli.app import main

    file = tmp_path / "block.py"
    file.write_text(compose(library.seed("gpt")))
    assert main(["check", str(file), "--fast"]) == 0
    out, err = capfd.readouterr()
    assert "passed" in out
    assert err.splitlines()[0].endswith("check: starting")
