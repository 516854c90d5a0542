"""Every unit of the library passes the checks in a block, and its cost grows as it should."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
import torch
from exhaustive import exhaustive
from seed_support import draw, largest_difference, randomise
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from genesys_engine.gab.compose import compose, load_block
from genesys_engine.gab.library import unit, unit_names
from genesys_engine.gab.tree import GABTree, grow
from genesys_engine.plugins import knowledge
from genesys_engine.plugins.auditor.audit import Order
from genesys_engine.plugins.auditor.here import audit_block, check_block

# Natural partners: what fills the slots that a test is not about.
PARTNERS = {
    "block": "pre_norm_block",
    "sequence_mixer": "causal_attention",
    "channel_mixer": "swiglu_mlp",
    "norm": "rms_norm",
    "gate": "sigmoid_gate",
    "local_mixer": "short_convolution",
    "position": "rotary",
    "recurrence": "channel_decay_recurrence",
}
# A parent that has a slot for a unit of this interface, below a block.
PARENTS = {
    "sequence_mixer": "pre_norm_block",
    "channel_mixer": "pre_norm_block",
    "norm": "pre_norm_block",
    "gate": "gated_block",
    "local_mixer": "canon_block",
    "position": "causal_attention",
    "recurrence": "multi_scale_retention",
}
LINEAR_IN_TIME = [
    "causal_long_convolution",
    "delta_net",
    "gated_delta_net",
    "gated_linear_attention",
    "hgrn2",
    "hyena",
    "linear_attention",
    "linear_recurrent_unit",
    "mamba2_mixer",
    "mamba3_mixer",
    "rg_lru",
    "rwkv6_time_mix",
    "s4d",
    "sliding_window_attention",
    "taylor_linear_attention",
    "ttt_linear",
]


def planted(name: str, inner: str = "") -> GABTree:
    """Return the unit with partners in its slots; `inner` stands in every slot that it fits."""
    offered = unit(inner).interface if inner else ""
    slots = unit(name).slots
    children = {s.name: inner if s.interface == offered else PARTNERS[s.interface] for s in slots}
    return grow(unit(name), {slot: planted(child) for slot, child in children.items()})


def in_block(name: str) -> GABTree:
    """Return a whole block around the unit."""
    tree = planted(name)
    if tree[0].ret != "block":
        parent = planted(PARENTS[tree[0].ret], name)
        tree = parent if parent[0].ret == "block" else _as_mixer(parent)
    tree.validate()
    return tree


def _as_mixer(mixer: GABTree) -> GABTree:
    block = planted("pre_norm_block")
    return block.replace(block.children(0)["mixer"], mixer)


@functools.cache
def block_class(name: str) -> type[nn.Module]:
    return load_block(compose(in_block(name)))


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return block_class(name)(64, (0, 2), dtype=torch.float32)


@pytest.mark.parametrize("name", exhaustive(unit_names(), but=unit_names()[::4]))
def test_the_checks_find_nothing(name: str) -> None:
    assert unit(name).name in {place.node.name for place in in_block(name).places()}
    report = check_block(compose(in_block(name)), vocab_size=2048, seed=1, scales=["0.2M"])
    assert not report.findings, report.findings


@functools.cache
def units_of_cards() -> tuple[str, ...]:
    """Return the units that the reference cards name."""
    cards = (Path(knowledge.__path__[0]) / "cards").glob("*.md")
    found = (re.search(r"^unit: (\w+)$", card.read_text("utf-8"), re.M) for card in cards)
    return tuple(sorted({match[1] for match in found if match}))


# Every second one: an audit in full takes a second or two, and the checks above look at all.  Of
# the others the auditor refuses `no_position` alone, which does nothing on purpose (`unit.dead`).
@pytest.mark.slow
@pytest.mark.parametrize("name", exhaustive(units_of_cards()[::2], but=units_of_cards()[::16]))
def test_the_auditor_passes_the_units_of_cards(name: str) -> None:
    assert len(units_of_cards()[::2]) >= 25
    report = audit_block(Order(source=compose(in_block(name)))).report
    assert report.passed, report.findings


@pytest.mark.parametrize("name", unit_names())
def test_an_output_does_not_depend_on_how_long_the_sequence_is(name: str) -> None:
    """A prefix by itself gives what it gives at the start of a longer sequence."""
    block = randomise(block_class(name)(32, (1, 3), dtype=torch.float64), size=0.2)
    x = draw(2, 131, 32)
    whole = block(x)[0]
    for length in (1, 2, 16, 33, 64, 100):
        assert largest_difference(block(x[:, :length])[0], whole[:, :length]) < 1e-9, length


def saved_bytes(name: str, length: int) -> int:
    """Return what a forward pass of one block keeps for the backward pass, in bytes."""
    kept: list[torch.Tensor] = []  # all stay alive, so that no address is used twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        build(name)(draw(2, length, 64, dtype=torch.float32).requires_grad_())
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    return sum(storages.values())


@pytest.mark.parametrize("name", unit_names())
def test_memory_is_bounded(name: str) -> None:
    assert saved_bytes(name, 512) < 128 * 2**20


@pytest.mark.parametrize("name", LINEAR_IN_TIME)
def test_memory_of_linear_mixers_grows_linearly(name: str) -> None:
    """Without the partners' share: attention is not among them, MLP and norms are linear too."""
    small, large = (saved_bytes(name, length) for length in (512, 1024))
    assert large < 2.2 * small


class _Count(TorchDispatchMode):
    """Counts operations."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", unit_names())
def test_runs_in_mixed_precision(name: str) -> None:
    module, x = build(name), draw(2, 70, 64, dtype=torch.float32)
    exact = module(x)[0].detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = module(x)[0]
    y.float().square().mean().backward()
    assert float((y.detach().float() - exact).abs().max()) < 0.1 * float(exact.abs().max())
    assert all(bool(torch.isfinite(p.grad).all()) for p in module.parameters())


PER_STEP = 4  # operations: chunks of 16 take about 3 a step, one step at a time about 10


def operations(module: nn.Module, length: int) -> int:
    with torch.no_grad(), _Count() as counter:
        module(draw(1, length, 64, dtype=torch.float32))
    return counter.count


@pytest.mark.parametrize("name", unit_names())
def test_no_unit_goes_step_by_step(name: str) -> None:
    module = build(name)
    assert operations(module, 256) - operations(module, 128) < PER_STEP * 128


def test_a_loop_over_steps_would_be_noticed() -> None:
    class StepByStep(nn.Module):
        def forward(self, X: torch.Tensor) -> torch.Tensor:
            state, rows = torch.zeros_like(X[:, 0]), []
            for t in range(X.shape[1]):
                state = 0.9 * state + X[:, t]
                rows.append(state * X[:, t])
            return torch.stack(rows, 1)

    assert operations(StepByStep(), 256) - operations(StepByStep(), 128) > PER_STEP * 128
