"""PyTorch without what an audit does not need: nothing is missing that is asked for."""

import sys

import commands
import pytest

BEGIN = "import sys\nfrom genesys_engine.gab import lean_torch\nimport torch\n"


def run(code: str) -> str:
    done = commands.run([sys.executable, "-c", BEGIN + code], check=False)
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


META = (
    "from genesys_engine.gab.meta import on_meta\n"
    "meta = torch.ones(2, 6, 4, device='meta').transpose(1, 2)\n"
    "def shape(t): return tuple(t.shape), t.stride(), t.dtype, t.device.type\n"
)
OPERATIONS = (
    "torch.where(meta > 0, meta, 1.0)",
    "torch.fft.rfft(meta)",
    "torch.nn.LayerNorm(6, device='meta')(meta)",
    "torch.nn.Conv1d(4, 4, 3, groups=4, device='meta')(meta)",
    "torch.nn.Embedding(9, 4, device='meta')(torch.ones(2, 3, dtype=torch.long, device='meta'))",
    "torch.nn.functional.scaled_dot_product_attention(meta, meta, meta, is_causal=True)",
    "meta.roll(1, 1).logcumsumexp(1).var(-1)",
)


def test_without_shape_functions_the_meta_device_gives_the_same_shapes() -> None:
    operations = "".join(f"lambda: {operation}, " for operation in OPERATIONS)
    out = run(
        f"{META}operations = [{operations}]\n"
        "lean = [shape(on_meta(operation)) for operation in operations]\n"
        "print(lean_torch.lacks_shapes())\n"
        "lean_torch.complete()\n"
        "for one, operation in zip(lean, operations): print(one == shape(operation()), one)"
    )
    lacks, *compared = out.splitlines()
    assert lacks == "True"
    assert len(compared) == len(OPERATIONS)
    for operation, line in zip(OPERATIONS, compared, strict=True):
        assert line.startswith("True ((2, "), (operation, line)


@pytest.mark.parametrize(
    "operation",
    ["meta.sum().item()", "meta.nonzero()", "meta[meta > 0]", "torch.where(meta > 0, meta, here)"],
)
def test_what_fails_on_the_meta_device_fails_with_all_shape_functions(operation: str) -> None:
    """Each in a process of its own: the first that fails fetches the shape functions."""
    out = run(
        f"{META}here = torch.ones(2, 4, 6)\n"
        "def say(action):\n"
        "    try: return action().shape\n"
        "    except Exception as error: return type(error), str(error)\n"
        f"lean = say(lambda: on_meta(lambda: {operation}))\n"
        f"print(lean_torch.lacks_shapes(), lean == say(lambda: {operation}), type(lean).__name__)"
    )
    assert out == "False True tuple"


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


def test_operations_on_the_meta_device_are_counted_as_by_the_whole_of_pytorch() -> None:
    """Where `lean_torch` is no first import it leaves nothing out: that is the other side."""
    count = (
        "from genesys_engine.gab import library\n"
        "from genesys_engine.gab.compose import compose, load_block\n"
        "from genesys_engine.gab.scales import ModelConfig\n"
        "from genesys_engine.plugins.auditor.flops import flops_per_token\n"
        "config = ModelConfig(n_blocks=1, d_model=64, context=64, vocab_size=256)\n"
        "for name in ('gpt', 'mamba2'):\n"
        "    block = load_block(compose(library.seed(name)), 'Block')\n"
        "    print(flops_per_token(block, config))\n"
    )
    whole = commands.run([sys.executable, "-c", "import torch\n" + count], check=True).stdout
    assert run(count) == whole.strip()
    assert len(whole.split()) == 2
