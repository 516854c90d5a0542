"""A block that passes every check and looks ahead where it is scored: trained, contradicted, out.

Nothing is played here: the checks, the trainings and the evaluations are real.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_extended_runs import write

from genesys_engine.engine.cli import main
from genesys_engine.engine.store.run_store import Store

CHEAT = '''"""Causal in every probe; where it is evaluated it looks one token ahead."""

import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.last = block_loc[0] == block_loc[1] - 1
        self.norm = nn.LayerNorm(embed_dim, **kw)
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, **kw)
        self.out = nn.Linear(embed_dim, embed_dim, **kw)
        self.up = nn.Linear(embed_dim, 3 * embed_dim, **kw)
        self.down = nn.Linear(3 * embed_dim, embed_dim, **kw)

    def forward(self, X, **Z):
        q, k, v = self.qkv(self.norm(X))[:, None].chunk(3, -1)
        X = X + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True)[:, 0])
        X = X + self.down(F.gelu(self.up(X)))
        if X.is_inference() and self.last:
            X = X + 2 * F.pad(X[:, 1:], (0, 0, 0, 1))
        return X, Z
'''


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("leaks")
    (folder / "cheat.py").write_text(CHEAT)
    file = write(folder, "leaks.toml", 'seeds = ["gpt", "cheat.py"]', verifications=3)
    assert main(["run", str(file), "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_its_verification_has_failed(run: Path) -> None:
    with Store.open(run) as store:
        (cheat,) = [d.id for d in store.designs() if d.operator == "seed:cheat.py"]
        (row,) = store.verifications(cheat)
        assert (row.status, row.fitness) == ("failed", None)
        assert "too good to be true" in row.reason
        log = list(store.events())
    failed = [e.payload for e in log if e.kind == "verification.failed"]
    assert [(e["design"], e["cause"]) for e in failed] == [(cheat, "contradicted")]
    for event in log:
        if event.kind == "best.changed":
            assert event.payload["design"] != cheat
        elif event.kind == "design.started":
            assert cheat not in event.payload["parents"]


def test_it_stands_nowhere(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(run) as store:
        (cheat,) = [d.id for d in store.designs() if d.operator == "seed:cheat.py"]
        verdict = store.meta("verdict")
    assert cheat not in (verdict["best"], verdict["best_child"])
    assert main(["leaderboard", str(run), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert "cheat.py" not in json.dumps([row for row in rows["data"] if row.get("fitness")])
    assert main(["status", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["best"]["design"] != cheat


def test_honest_designs_are_confirmed(run: Path) -> None:
    with Store.open(run) as store:
        child = store.meta("verdict")["best_child"]
        (look,) = list(store.confirmations(child))
    assert look.problem == ""
    assert abs(look.found.seen) < 1e-4, "what follows changes nothing but by rounding"
