"""The library's attention units equal their formulas, position by position, in fp64."""

import math

import pytest
import torch
from seed_support import draw, largest_difference, make, randomise

from genesys_engine.gab import library
from genesys_engine.gab.compose import compose, load_block
from genesys_engine.gab.model import LanguageModel
from genesys_engine.gab.scales import ModelConfig
from genesys_engine.gab.tree import grow

LENGTHS = (1, 2, 5, 16, 33)
EXACT = 1e-8


def heads_of(unit, x, width):
    """Return q, k, v (B, H, T, width) of a unit that projects them together."""
    parts = (x @ unit.qkv.weight.T).chunk(3, -1)
    return [part.unflatten(-1, (-1, width)).transpose(1, 2) for part in parts]


def placed(unit, values):
    """Return values (B, H, T, width) as the position child gives them back."""
    return unit.position(values.flatten(0, 1))[0].view_as(values)


def attend(score, v):
    """Return the softmax average of v (B, H, T, D); score(t, s) is (B, H) for s <= t."""
    rows = []
    for t in range(v.shape[2]):
        weights = torch.stack([score(t, s) for s in range(t + 1)], -1).exp()
        weights = weights / weights.sum(-1, keepdim=True)
        rows.append((weights.unsqueeze(-1) * v[:, :, : t + 1]).sum(2))
    return torch.stack(rows, 2)


def dot(q, k):
    return lambda t, s: (q[:, :, t] * k[:, :, s]).sum(-1) / math.sqrt(q.shape[-1])


def joined(y):
    return y.transpose(1, 2).flatten(2)


@pytest.mark.parametrize("length", LENGTHS)
def test_alibi_adds_a_slope_times_the_distance(length):
    unit, x = randomise(make("alibi_attention", 64)), draw(2, length, 64)
    q, k, v = heads_of(unit, x, 16)
    slope = torch.tensor([2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8]).double()
    plain = dot(q, k)
    y = attend(lambda t, s: plain(t, s) - slope * (t - s), v)
    assert largest_difference(unit(x)[0], joined(y) @ unit.out.weight.T) < EXACT


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("length", LENGTHS)
def test_grouped_queries_share_the_keys_and_values_of_their_group(length, kv_heads):
    unit = randomise(make("grouped_query_attention", 64, hyper={"kv_heads": kv_heads}))
    x = draw(2, length, 64)
    every = (x @ unit.qkv.weight.T).unflatten(-1, (-1, 16)).transpose(1, 2)
    q = placed(unit, every[:, :4])
    k = placed(unit, every[:, 4 : 4 + kv_heads])
    v = every[:, 4 + kv_heads :]
    assert v.shape[1] == kv_heads
    group = torch.tensor([h * kv_heads // 4 for h in range(4)])
    y = attend(dot(q, k[:, group]), v[:, group])
    assert largest_difference(unit(x)[0], joined(y) @ unit.out.weight.T) < EXACT


@pytest.mark.parametrize("length", LENGTHS)
def test_latent_attention_needs_nothing_of_the_past_but_latents_and_one_key(length):
    """The decoding form: the up projections absorbed into query and result."""
    unit, x = randomise(make("latent_attention", 64)), draw(2, length, 64)
    latent, place = (x @ unit.down.weight.T).split((16, 16), -1)
    latent = unit.latent_norm(latent)[0]
    place = unit.position(place)[0]
    query = (x @ unit.query.weight.T).unflatten(-1, (2, 48)).transpose(1, 2)
    q, q_place = query[..., :32], placed(unit, query[..., 32:])
    up_k, up_v = unit.up.weight.unflatten(0, (2, 2, 32))  # (H, 32, 16) each
    absorbed = torch.einsum("bhtd,hdc->bhtc", q, up_k)

    def score(t, s):
        content = torch.einsum("bhc,bc->bh", absorbed[:, :, t], latent[:, s])
        where = torch.einsum("bhc,bc->bh", q_place[:, :, t], place[:, s])
        return (content + where) / math.sqrt(48)

    found = attend(score, latent.unsqueeze(1).expand(-1, 2, -1, -1))
    y = torch.einsum("bhtc,hdc->bhtd", found, up_v)
    assert largest_difference(unit(x)[0], joined(y) @ unit.out.weight.T) < EXACT


@pytest.mark.parametrize("length", LENGTHS)
def test_normed_queries_and_keys_are_compared(length):
    unit, x = randomise(make("qk_norm_attention", 64)), draw(2, length, 64)
    q, k, v = heads_of(unit, x, 32)
    q, k = placed(unit, unit.query_norm(q)[0]), placed(unit, unit.key_norm(k)[0])
    y = attend(dot(q, k), v)
    assert largest_difference(unit(x)[0], joined(y) @ unit.out.weight.T) < EXACT
    scaled, _ = unit(x)
    with torch.no_grad():
        unit.qkv.weight[:128] *= 1e3
    assert largest_difference(unit(x)[0], scaled) < 1e-3  # the norms' eps is all that differs


def before(values):
    """Return values (B, H, T, D) one position later, zeros first."""
    return torch.cat((torch.zeros_like(values[:, :, :1]), values[:, :, :-1]), 2)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_smeared_key_is_mixed_with_the_one_before_it(length):
    unit, x = randomise(make("smeared_key_attention", 64)), draw(2, length, 64)
    q, k, v = heads_of(unit, x, 32)
    share = 1 / (1 + (-unit.smear).exp())
    k = (1 - share) * k + share * before(k)
    y = attend(dot(placed(unit, q), placed(unit, k)), v)
    assert largest_difference(unit(x)[0], joined(y) @ unit.out.weight.T) < EXACT


@pytest.mark.parametrize("previous", [0.5, 0.8, 0.95])
def test_smeared_keys_start_at_the_share_that_is_asked_for(previous):
    unit = make("smeared_key_attention", 64, hyper={"previous": previous})
    assert torch.allclose(unit.smear.sigmoid(), torch.full((2, 1, 1), previous).double())


def test_queries_and_keys_that_start_alike_stay_so_in_a_model():
    """The model around a block leaves that start alone, and a seed decides on it."""
    unit = library.unit("smeared_key_attention")
    rotary = grow(library.unit("rotary"))
    tree = library.seed("gpt")
    tree = tree.replace(tree.children(0)["mixer"], grow(unit, {"position": rotary}, alike=True))
    block = load_block(compose(tree))
    config = ModelConfig(d_model=64, n_blocks=2, vocab_size=32, context=16)
    weights = [LanguageModel(block, config, seed=seed).state_dict() for seed in (1, 1, 2)]
    name = next(each for each in weights[0] if each.endswith("qkv.weight"))
    query, key, value = weights[0][name].chunk(3)
    assert torch.equal(query, key)
    assert not torch.equal(query, value)
    assert abs(float((query.mT @ query).diagonal().mean()) - 1) < 0.1  # near the identity
    assert torch.equal(weights[0][name], weights[1][name])
    assert not torch.equal(weights[0][name], weights[2][name])


@pytest.mark.parametrize("length", LENGTHS)
def test_shifted_keys_and_values_are_sums_of_two_positions(length):
    unit, x = randomise(make("kv_shifting_attention", 64)), draw(2, length, 64)
    q, k, v = heads_of(unit, x, 32)
    k = unit.keys[0] * k + unit.keys[1] * before(k)
    v = unit.values[0] * v + unit.values[1] * before(v)
    y = attend(dot(placed(unit, q), placed(unit, k)), v)
    assert largest_difference(unit(x)[0], joined(y) @ unit.out.weight.T) < EXACT


@pytest.mark.parametrize("name", ["smeared_key_attention", "kv_shifting_attention"])
def test_one_layer_finds_what_followed_its_own_token(name):
    """With one projection for queries and keys a head looks behind the last equal token."""
    unit = make(name, 64, position="no_position", hyper={"head_dim": 64})
    tokens = draw(20, 64)
    tokens = 64 * tokens / tokens.norm(dim=-1, keepdim=True)
    order = [0, 1, 2, 3, 4, 5, 6, 2]  # the query, 2, was followed by 3
    with torch.no_grad():
        unit.qkv.weight.copy_(torch.eye(64).double().repeat(3, 1))
        unit.out.weight.copy_(torch.eye(64).double())
        if name == "smeared_key_attention":
            unit.smear.fill_(50.0)
        else:
            unit.keys.copy_(torch.tensor([0.0, 1.0]).double().view(2, 1, 1, 1))
            unit.values.copy_(torch.tensor([1.0, 0.0]).double().view(2, 1, 1, 1))
    found = unit(tokens[order].unsqueeze(0))[0][0, -1]
    assert int((tokens @ found).argmax()) == 3


@pytest.mark.parametrize("index", [0, 1, 5])
@pytest.mark.parametrize("length", LENGTHS)
def test_differential_heads_are_two_maps_apart(length, index):
    unit = randomise(make("differential_attention", 64, loc=(index, 6)))
    x = draw(2, length, 64)
    q, k = ((x @ w.T).unflatten(-1, (2, 2, 16)) for w in unit.qk.weight.chunk(2))
    v = (x @ unit.value.weight.T).unflatten(-1, (2, 32)).transpose(1, 2)
    maps = []
    for i in range(2):
        q_i, k_i = (placed(unit, part[:, :, :, i].transpose(1, 2)) for part in (q, k))
        maps.append(attend(dot(q_i, k_i), v))
    start = 0.8 - 0.6 * math.exp(-0.3 * index)
    (a1, a2), (b1, b2) = unit.share
    share = (a1 * b1).sum().exp() - (a2 * b2).sum().exp() + start
    y = (1 - start) * unit.head_norm(maps[0] - share * maps[1])[0]
    assert largest_difference(unit(x)[0], joined(y) @ unit.out.weight.T) < EXACT


@pytest.mark.parametrize("length", LENGTHS)
def test_forgetting_weighs_scores_by_the_gates_between(length):
    unit, x = randomise(make("forgetting_attention", 64)), draw(2, length, 64)
    q, k, v = heads_of(unit, x, 32)
    raw = x @ unit.forget.weight.T + unit.forget_bias
    gate = (1 / (1 + (-raw).exp())).transpose(1, 2)  # (B, H, T)
    plain = dot(q, k)
    y = attend(lambda t, s: plain(t, s) + gate[:, :, s + 1 : t + 1].prod(-1).log(), v)
    assert largest_difference(unit(x)[0], joined(y) @ unit.out.weight.T) < EXACT


@pytest.mark.parametrize("length", LENGTHS)
def test_stick_breaking_hands_the_rest_of_the_stick_back_in_time(length):
    unit, x = randomise(make("stick_breaking_attention", 64)), draw(2, length, 64)
    q, k, v = heads_of(unit, x, 32)
    y = torch.zeros_like(v)
    for t in range(length):
        left = torch.ones(2, 2).double()
        for s in range(t - 1, -1, -1):
            share = 1 / (1 + (-dot(q, k)(t, s)).exp())
            y[:, :, t] += (left * share).unsqueeze(-1) * v[:, :, s]
            left = left * (1 - share)
    assert largest_difference(unit(x)[0], joined(y) @ unit.out.weight.T) < EXACT


@pytest.mark.parametrize("length", LENGTHS)
def test_talking_heads_mix_scores_and_weights(length):
    unit, x = make("talking_heads_attention", 64), draw(2, length, 64)
    q, k, v = heads_of(unit, x, 16)
    plain = attend(dot(placed(unit, q), placed(unit, k)), v)
    assert largest_difference(unit(x)[0], joined(plain) @ unit.out.weight.T) < EXACT
    randomise(unit)
    q, k, v = heads_of(unit, x, 16)
    score = dot(placed(unit, q), placed(unit, k))
    y = torch.zeros_like(v)
    for t in range(length):
        mixed = torch.stack([score(t, s) @ unit.before.T for s in range(t + 1)], -1).exp()
        weights = mixed / mixed.sum(-1, keepdim=True)
        for head in range(4):
            talked = (unit.after[head].view(1, 4, 1) * weights).sum(1)
            y[:, head, t] = (talked.unsqueeze(-1) * v[:, head, : t + 1]).sum(1)
    assert largest_difference(unit(x)[0], joined(y) @ unit.out.weight.T) < EXACT


@pytest.mark.parametrize("length", LENGTHS)
def test_persistent_memories_share_the_softmax_and_stand_nowhere(length):
    unit = randomise(make("persistent_memory_attention", 64, hyper={"memories": 4}))
    x = draw(2, length, 64)
    q, k, v = heads_of(unit, x, 32)
    score = dot(placed(unit, q), placed(unit, k))
    rows = []
    for t in range(length):
        seen = [score(t, s) for s in range(t + 1)]
        learned = torch.einsum("bhd,hmd->bhm", q[:, :, t], unit.memory[0]) / math.sqrt(32)
        weights = torch.cat((torch.stack(seen, -1), learned), -1).softmax(-1)
        values = torch.cat((v[:, :, : t + 1], unit.memory[1].expand(2, -1, -1, -1)), 2)
        rows.append((weights.unsqueeze(-1) * values).sum(2))
    y = torch.stack(rows, 2)
    assert largest_difference(unit(x)[0], joined(y) @ unit.out.weight.T) < EXACT


@pytest.mark.parametrize("length", LENGTHS)
def test_gates_stand_between_heads_and_output(length):
    unit, x = randomise(make("gated_attention", 64)), draw(2, length, 64)
    q, k, v = heads_of(unit, x, 32)
    y = joined(attend(dot(placed(unit, q), placed(unit, k)), v))
    gate = 1 / (1 + (-x @ unit.gate.weight.T).exp())
    assert largest_difference(unit(x)[0], (gate * y) @ unit.out.weight.T) < EXACT


@pytest.mark.parametrize("length", LENGTHS)
def test_the_sink_takes_weight_and_gives_nothing(length):
    unit, x = randomise(make("sink_attention", 64), size=1.0), draw(2, length, 64)
    q, k, v = heads_of(unit, x, 32)
    score = dot(placed(unit, q), placed(unit, k))
    y = torch.zeros_like(v)
    for t in range(length):
        weights = torch.stack([score(t, s).exp() for s in range(t + 1)], -1)
        total = unit.sink.exp() + weights.sum(-1)
        y[:, :, t] = (weights.unsqueeze(-1) * v[:, :, : t + 1]).sum(2) / total.unsqueeze(-1)
    assert largest_difference(unit(x)[0], joined(y) @ unit.out.weight.T) < EXACT


@pytest.mark.parametrize("length", LENGTHS)
def test_convolved_projections_are_attended(length):
    unit, x = randomise(make("multi_dconv_attention", 64)), draw(2, length, 64)
    taps = unit.convolution.weight.flatten(1)  # (3 d_model, 4)
    padded = torch.cat((torch.zeros(2, 3, 192).double(), x @ unit.qkv.weight.T), 1)
    near = sum(padded[:, i : i + length] * taps[:, i] for i in range(4)) + unit.convolution.bias
    parts = [p.unflatten(-1, (2, 32)).transpose(1, 2) for p in near.chunk(3, -1)]
    y = attend(dot(placed(unit, parts[0]), placed(unit, parts[1])), parts[2])
    assert largest_difference(unit(x)[0], joined(y) @ unit.out.weight.T) < EXACT
