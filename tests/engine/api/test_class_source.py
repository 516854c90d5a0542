"""The source of a class: of a file, or of a notebook's cells with all that it uses."""

from __future__ import annotations

import importlib.util
import linecache
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import genesys_engine as ge
from genesys_engine.engine.api.class_source import class_source

CELLS = (
    "import torch\nimport torch.nn.functional as F\nfrom torch import nn as layers\n"
    "from torch.nn.functional import softmax\nWIDTH = 2\n",
    "class Norm(layers.Module):\n"
    "    def __init__(self, d, device=None, dtype=None):\n"
    "        super().__init__()\n"
    "        self.g = layers.Parameter(torch.ones(d, device=device, dtype=dtype))\n"
    "    def forward(self, X):\n"
    "        return F.rms_norm(X, X.shape[-1:], self.g)\n"
    "def doubled(d):\n    return WIDTH * d\n",
    "class Mixer(layers.Module):\n"
    "    def __init__(self, embed_dim, block_loc, device=None, dtype=None):\n"
    "        super().__init__()\n"
    "        kw = {'device': device, 'dtype': dtype}\n"
    "        self.norm = Norm(embed_dim, **kw)\n"
    "        self.up = layers.Linear(embed_dim, doubled(embed_dim), **kw)\n"
    "        self.down = layers.Linear(doubled(embed_dim), embed_dim, **kw)\n"
    "    def forward(self, X, **Z):\n"
    "        H = self.norm(X)\n"
    "        H = H + {past}\n"
    "        return X + self.down(softmax(self.up(H), -1)), Z\n",
)
CAUSAL = "H.cumsum(1) / torch.arange(1, H.shape[1] + 1, device=X.device)[:, None]"
LEAKING = "H.mean(1, keepdim=True)"


def notebook(*cells: str) -> dict[str, Any]:
    """Run cells as IPython does: in `__main__`, each with its lines in the cache."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, text in enumerate(cells):
        file = f"<ipython-input-{number}-{abs(hash(text))}>"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        exec(compile(text, file, "exec"), names)
    return names


def mixer(past: str) -> type:
    found: type = notebook(*CELLS[:2], CELLS[2].replace("{past}", past))["Mixer"]
    return found


def test_a_class_of_cells_stands_by_itself() -> None:
    names: dict[str, Any] = {}
    text = class_source(mixer(CAUSAL))
    exec(text, names)
    assert names["Mixer"](32, (0, 1)).up.out_features == 64
    assert "from torch.nn.functional import softmax" in text.splitlines()


def test_it_is_checked_and_its_leak_is_found() -> None:
    good = ge.check(mixer(CAUSAL), fast=True)
    assert good.passed, str(good)
    bad = ge.check(mixer(LEAKING), fast=True)
    assert not bad.passed
    assert "causality.leak" in bad.codes
    assert repr(bad).startswith("<BlockCheck Mixer: failed: ")
    (found,) = (each for each in bad.findings if each.code == "causality.leak")
    html = bad._repr_html_()
    assert "<code>causality.leak</code>" in html
    assert found.advice.split(":")[0][:20] in html


def test_a_class_of_a_module_gives_its_file_and_is_not_run_again(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch.nn as nn\nfrom pathlib import Path\n"
        f"Path({str(tmp_path / 'ran')!r}).open('a').write('x')\n"
        "class Mine(nn.Linear):\n"
        "    def __init__(self, d, block_loc, device=None, dtype=None):\n"
        "        super().__init__(d, d)\n"
    )
    spec = importlib.util.spec_from_file_location("mine", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mine"] = module
    try:
        spec.loader.exec_module(module)
        assert class_source(module.Mine) == file.read_text()
        checked = ge.check(module.Mine, fast=True)
    finally:
        del sys.modules["mine"]
    assert "static.import" in checked.codes
    assert (tmp_path / "ran").read_text() == "x"  # at the import, and never again


@pytest.mark.parametrize(
    ("cell", "named"),
    [
        ("class Block:\n    def forward(self, X):\n        return X + table[0]\n", "table"),
        ("class Block:\n    def forward(self, X):\n        return helper(X)\n", "helper"),
    ],
)
def test_what_no_source_can_make_is_refused(cell: str, named: str) -> None:
    names = notebook(cell)
    names["table"] = [1.0]
    names["helper"] = eval("lambda X: X", names)
    with pytest.raises(ge.InputError, match=named):
        class_source(names["Block"])


def test_a_class_without_source_and_what_is_no_block() -> None:
    with pytest.raises(ge.InputError, match="Ghost"):
        ge.check(types.new_class("Ghost", (), {}, lambda body: body.update(__module__="__main__")))
    with pytest.raises(ge.InputError, match="no block"):
        ge.check(5)  # type: ignore[arg-type]
    with pytest.raises(ge.InputError, match="no such file"):
        ge.check("nowhere.py")
    for wrong in ({"d_model": 40}, {"d_model": 8}, {"layers": 0}, {"context": 9000}):
        with pytest.raises(ge.InputError, match=next(iter(wrong))):
            ge.check("nowhere.py", **wrong)  # type: ignore[arg-type]
