"""The language model around a block: initialisation, Z through all blocks, generation."""

from __future__ import annotations

import math

import pytest
import torch
from core_units import edited, small, small_tree
from torch import nn

from genesys_engine.gab.compose import compose, load_block
from genesys_engine.gab.model import LanguageModel
from genesys_engine.gab.scales import ModelConfig, count_parameters
from genesys_engine.gab.tree import grow

CONFIG = ModelConfig(d_model=32, n_blocks=3, vocab_size=50, context=8)


@pytest.fixture(scope="module")
def block_class():
    return load_block(compose(small_tree()))


def test_tokens_to_logits(block_class):
    model = LanguageModel(block_class, CONFIG, dtype=torch.float64)
    tokens = torch.randint(0, 50, (2, 6))
    logits = model(tokens)
    assert logits.shape == (2, 6, 50)
    assert logits.dtype == torch.float64
    X, Z = model.embedding(tokens), {}
    for block in model.blocks:
        X, Z = block(X, **Z)
    want = (X / (X.square().mean(-1, keepdim=True) + 2.3e-16).sqrt()) @ model.embedding.weight.T
    assert torch.allclose(logits, want)


def test_the_model_is_causal(block_class):
    model = LanguageModel(block_class, CONFIG)
    one = torch.randint(0, 50, (1, 8))
    two = torch.cat((one[:, :5], (one[:, 5:] + 1) % 50), dim=1)
    assert torch.allclose(model(one)[:, :5], model(two)[:, :5], atol=1e-6)
    assert not torch.allclose(model(one)[:, 5:], model(two)[:, 5:], atol=1e-3)


def test_z_is_carried_from_block_to_block_and_blocks_know_where_they_are():
    class Counting(nn.Module):
        def __init__(self, embed_dim, block_loc, device=None, dtype=None):
            super().__init__()
            self.block_loc = block_loc

        def forward(self, X, **Z):
            assert Z.get("count", 0) == self.block_loc[0]
            return X, {**Z, "count": Z.get("count", 0) + 1}

    model = LanguageModel(Counting, CONFIG)
    model(torch.zeros(1, 2, dtype=torch.long))
    assert [block.block_loc for block in model.blocks] == [(0, 3), (1, 3), (2, 3)]


def test_small_initialisation(block_class):
    model = LanguageModel(block_class, ModelConfig(64, 4, 500, 8))
    std = math.sqrt(2 / (5 * 64))
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            assert module.weight.std().item() == pytest.approx(std, rel=0.05)
            assert abs(module.weight.mean().item()) < 4 * std / module.weight.numel() ** 0.5
        if isinstance(module, nn.Linear) and module.bias is not None:
            assert module.bias.eq(0).all()


def test_what_a_unit_sets_itself_is_kept():
    gain = "\n        self.gain = nn.Parameter(torch.randn(3))"
    fives = "\n        nn.init.constant_(self.out.weight, 5.0)\n        self.out.keep_init = True"
    own = edited(
        "MeanMixer",
        ("self.power = power", "self.power = power" + gain),
        ("dtype=dtype)", "dtype=dtype)" + fives),
    )
    block = load_block(compose(small_tree(mixer=grow(own))))
    model = LanguageModel(block, CONFIG, seed=1)
    assert model.blocks[0].root.mixer.out.weight.eq(5.0).all()
    gains = torch.cat([block.root.mixer.gain for block in model.blocks])
    assert len(set(gains.tolist())) == 9
    again = LanguageModel(block, CONFIG, seed=1)
    assert torch.equal(gains, torch.cat([block.root.mixer.gain for block in again.blocks]))


def equal(one: nn.Module, two: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_weights_follow_the_seed_and_nothing_else(block_class):
    one = LanguageModel(block_class, CONFIG, seed=3)
    torch.manual_seed(99)
    state = torch.random.get_rng_state()
    two = LanguageModel(block_class, CONFIG, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert equal(one, two)
    assert not equal(one, LanguageModel(block_class, CONFIG, seed=4))
    with torch.no_grad():
        for parameter in two.parameters():
            parameter.add_(1)
    two.initialise(3)
    assert equal(one, two)
    two.initialise(4)
    assert equal(LanguageModel(block_class, CONFIG, seed=4), two)


def test_the_same_seed_gives_the_same_weights_in_double_precision(block_class):
    one = LanguageModel(block_class, CONFIG, seed=3)
    two = LanguageModel(block_class, CONFIG, seed=3, dtype=torch.float64)
    assert torch.equal(one.embedding.weight, two.embedding.weight.float())


def test_parameters_are_counted_without_allocating_them(block_class):
    model = LanguageModel(block_class, CONFIG)
    assert count_parameters(block_class, CONFIG) == sum(p.numel() for p in model.parameters())
    on_meta = LanguageModel(block_class, ModelConfig(2048, 24, 32000, 2048), device="meta")
    assert all(parameter.is_meta for parameter in on_meta.parameters())


def test_the_head_is_the_embedding(block_class):
    model = LanguageModel(block_class, CONFIG)
    names = [name for name, _ in model.named_parameters() if not name.startswith("blocks.")]
    assert names == ["embedding.weight", "norm.weight"]


def test_greedy_generation_takes_the_likeliest_token_and_crops_to_the_context(block_class):
    model = LanguageModel(block_class, CONFIG).train()
    tokens = torch.randint(0, 50, (2, 3))
    seen = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    out = model.generate(tokens, 9)
    assert seen == [3, 4, 5, 6, 7, 8, 8, 8, 8]
    assert out.shape == (2, 12)
    assert model.training
    want = tokens
    for _ in range(9):
        want = torch.cat((want, model(want[:, -8:])[:, -1:].argmax(-1)), dim=1)
    assert torch.equal(out, want)


def test_sampling_follows_the_generator_and_the_distribution(block_class):
    model = LanguageModel(block_class, CONFIG)
    tokens = torch.zeros(4000, 1, dtype=torch.long)
    draws = [
        model.generate(tokens, 1, temperature=2.0, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    wanted = (model(tokens[:1])[0, -1] / 2.0).softmax(-1)
    seen = torch.bincount(draws[0][:, 1], minlength=50) / 4000
    assert torch.allclose(seen, wanted, atol=0.025)


def test_no_new_tokens_leave_the_prompt(block_class):
    tokens = torch.randint(0, 50, (1, 4))
    assert torch.equal(LanguageModel(block_class, CONFIG).generate(tokens, 0), tokens)


def test_training_lowers_the_loss_of_a_small_model():
    block = load_block(compose(small_tree(channels=grow(small("Channels")))))
    model = LanguageModel(block, CONFIG)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    tokens = torch.arange(9).repeat(4, 1) * 3
    losses = []
    for _ in range(40):
        logits = model(tokens[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 2.5
    assert losses[-1] < 0.2
