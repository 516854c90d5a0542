"""A trained model as an ONNX graph: traced in an isolated worker, and proven against PyTorch."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from exhaustive import exhaustive

from genesys_engine.gab import library
from genesys_engine.gab.compose import compose
from genesys_engine.plugins.checkpoint import save_checkpoint
from genesys_engine.plugins.models import build_model
from genesys_engine.plugins.sandbox import Limits, Outcome, SandboxHost

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason="the extra `onnx` is not installed")

MODEL = {"d_model": 64, "n_blocks": 3, "vocab_size": 300, "context": 128}
JOB = "genesys_engine.plugins.onnx_job:export"
SUBJECT = "genesys_engine.plugins.onnx_subject:operations"
AXES = {
    "gpt": "batch and length",
    "mamba2": "batch",
    "retnet": "none",
    "rwkv6": "batch",
    "ttt": "batch",
}
HEAD = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.norm = nn.RMSNorm(embed_dim, **kw)
        self.linear = nn.Linear(embed_dim, embed_dim, **kw)

    def forward(self, X, **Z):
"""


@pytest.fixture(scope="module")
def host() -> Iterator[SandboxHost]:
    preload = ("torch", "torch._dynamo", "genesys_engine.plugins.onnx_job")
    host = SandboxHost(workers=1, preload=preload)
    yield host
    host.close()


def export(host: SandboxHost, folder: Path, source: str) -> Outcome:
    """Export a model with weights of its own; leave the graph in `folder`."""
    weights = folder / "weights.safetensors"
    save_checkpoint(build_model({"source": source, "model": MODEL, "seed": 5}, "cpu"), weights)
    scratch = folder / "scratch"
    scratch.mkdir()
    order = {"source": source, "model": MODEL, "seed": 0, "checkpoint": str(weights)}
    limits = Limits(
        wall_s=900, memory_bytes=8 << 30, subject=SUBJECT, subject_readable=(str(weights),)
    )
    return host.submit(JOB, {**order, "metadata": {"design": "x"}}, scratch, limits).result()


def checked(outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Return an answer whose graph was written; run the graph here once more."""
    import onnx
    import onnxruntime

    assert outcome.status == "ok", outcome.reason
    value = dict(outcome.value or {})
    assert value["axes"], value["refused"]
    assert value["difference"] < 1e-4
    path = folder / "scratch/model.onnx"
    (tokens,) = onnxruntime.InferenceSession(path).get_inputs()
    assert tokens.name == "tokens"
    model = onnx.load(path)
    assert [(each.key, each.value) for each in model.metadata_props] == [("design", "x")]
    assert b"genesys_block" not in path.read_bytes(), "no paths, no lines"
    value["shape"] = tokens.shape
    return value


@pytest.mark.slow
@pytest.mark.parametrize("name", exhaustive(AXES, but=["gpt"]))
def test_a_seed_computes_the_same_in_onnxruntime(
    host: SandboxHost, tmp_path: Path, name: str
) -> None:
    found = checked(export(host, tmp_path, compose(library.seed(name))), tmp_path)
    assert found["axes"] == AXES[name]
    opened = {"batch and length": ["batch", "length"], "batch": ["batch", 128], "none": [1, 128]}
    assert found["shape"] == opened[found["axes"]]
    compared = {tuple(shape) for shape in found["compared"]}
    if found["axes"] == "batch and length":
        assert {length for _, length in compared} >= {1, 7, 65, 127, 128}
    elif found["axes"] == "batch":
        assert {batch for batch, _ in compared} >= {1, 2, 5}
    refused = {each["axes"] for each in found["refused"]}
    assert len(refused) == list(opened).index(found["axes"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "line", "operator"),
    [
        ("if bool(Y.abs().max() > 100):\n    Y = Y / 2", 15, ""),
        pytest.param(
            *("Y = torch.special.spherical_bessel_j0(Y)", 15, "spherical_bessel_j0"),
            marks=pytest.mark.exhaustive,
        ),
    ],
    ids=["looks at values", "unknown to ONNX"],
)
def test_what_cannot_be_exported_has_its_line(
    host: SandboxHost, tmp_path: Path, code: str, line: int, operator: str
) -> None:
    body = textwrap.indent(f"Y = self.linear(self.norm(X))\n{code}\nreturn X + Y, Z\n", " " * 8)
    outcome = export(host, tmp_path, HEAD + body)
    assert outcome.status == "ok", outcome.reason
    value = outcome.value or {}
    assert value["axes"] == ""
    assert not (tmp_path / "scratch/model.onnx").exists()
    last = value["refused"][-1]
    assert (last["line"], last["axes"]) == (line, "none")
    assert last["operator"].endswith(operator)
    assert last["reason"]


@pytest.mark.slow
def test_a_graph_that_differs_is_not_kept(host: SandboxHost, tmp_path: Path) -> None:
    """A block that computes otherwise while it is traced is found by the judge."""
    body = """
        Y = self.linear(self.norm(X))
        return X + (Y if type(X) is torch.Tensor else 2 * Y), Z
"""
    outcome = export(host, tmp_path, HEAD + body)
    value = outcome.value or {}
    assert (outcome.status, value["axes"]) == ("ok", ""), outcome.reason
    assert "differs" in value["refused"][-1]["reason"]
    assert not (tmp_path / "scratch/model.onnx").exists()
