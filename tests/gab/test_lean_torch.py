"""PyTorch without what an audit does not need: nothing is missing that is asked for."""

import subprocess
import sys

import pytest

BEGIN = "import sys\nfrom genesys_engine.gab import lean_torch\nimport torch\n"


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_training_step_imports_neither_the_compiler_nor_sympy() -> None:
    out = run(
        "model = torch.nn.Linear(4, 4)\n"
        "optimizer = torch.optim.AdamW(model.parameters(), fused=True)\n"
        "before = model.weight.detach().clone()\n"
        "generator = torch.Generator().manual_seed(0)\n"
        "model(torch.randn(2, 4, generator=generator)).sum().backward()\n"
        "optimizer.step(); optimizer.zero_grad()\n"
        "assert not torch.equal(before, model.weight)\n"
        "parts = 'torch._dynamo.eval_frame', 'sympy.core', 'torch._refs', 'torch._prims'\n"
        "print([part for part in parts if part in sys.modules])"
    )
    assert out == "[]"


def test_shape_functions_come_with_complete_and_plain_sizes_need_no_sympy() -> None:
    out = run(
        "meta = torch.ones(2, 3, device='meta')\n"
        "try: torch.where(meta > 0, meta, meta); print('there', end=' ')\n"
        "except NotImplementedError: print('missing', end=' ')\n"
        "lean_torch.complete(); lean_torch.complete()\n"
        "print(*torch.where(meta > 0, meta, meta.exp()).softmax(-1).shape, end=' ')\n"
        "torch.Generator().manual_seed(0)\n"
        "print('sympy.core' in sys.modules)"
    )
    assert out == "missing 2 3 False"


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("import torch._dynamo.config as c\nprint(c is torch._dynamo.config)", "True"),
        ("from torch._dynamo.utils import counters\nprint(type(counters).__name__)", "defaultdict"),
        ("print(torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1)).item())", "2.0"),
        ("from torch.utils.data import DataLoader\nprint(len(list(DataLoader([1, 2]))))", "2"),
        ("print(torch.export.Dim('n', min=2).__name__)", "n"),
        ("import sympy\nprint(sympy.Symbol('x') + 0)", "x"),
        (
            "from torch._subclasses.fake_tensor import FakeTensorMode\nlean_torch.complete()\n"
            "with FakeTensorMode(): print(*torch.ones(3, 2).cumsum(0).shape)",
            "3 2",
        ),
    ],
)
def test_what_is_asked_for_is_the_real_thing(code: str, answer: str) -> None:
    assert run(code) == answer
