"""The attention family: against loops written from the papers, and against Llama."""

import math
import sys
import types

import pytest
import torch
from seed_support import draw, largest_difference, make, randomise


def turned(x, base=10000.0):
    """Rotate x (N, T, D) with complex numbers, channel i and i + D/2 as one number."""
    half = x.shape[-1] // 2
    numbers = torch.complex(x[..., :half], x[..., half:])
    for t in range(x.shape[1]):
        for i in range(half):
            numbers[:, t, i] *= complex(math.cos(a := t * base ** (-i / half)), math.sin(a))
    return torch.cat((numbers.real, numbers.imag), -1)


def attention_by_loops(q, k, v, window=10**9):
    """Softmax attention of q, k, v (B, H, T, D), one query after the other."""
    out = torch.zeros_like(v)
    for t in range(q.shape[2]):
        first = max(0, t - window + 1)
        past_k, past_v = k[:, :, first : t + 1], v[:, :, first : t + 1]
        score = torch.einsum("bhd,bhsd->bhs", q[:, :, t], past_k) / math.sqrt(q.shape[-1])
        weight = (score - score.amax(-1, keepdim=True)).exp()
        weight = weight / weight.sum(-1, keepdim=True)
        out[:, :, t] = torch.einsum("bhs,bhsd->bhd", weight, past_v)
    return out


def heads(x, width):
    return x.unflatten(-1, (-1, width)).transpose(1, 2)


def test_rotary_turns_planes_and_keeps_an_odd_channel():
    x = draw(2, 11, 9)
    y, _ = make("rotary", 9)(x)
    assert largest_difference(y[..., :8], turned(x[..., :8])) < 1e-10
    assert torch.equal(y[..., 8], x[..., 8])


@pytest.mark.parametrize("length", [1, 2, 13, 32])
def test_attention_equals_loops(length):
    unit = randomise(make("causal_attention", 32, hyper={"head_dim": 16}))
    x = draw(2, length, 32)
    q, k, v = (heads(part, 16) for part in (x @ unit.qkv.weight.T).chunk(3, -1))
    q, k = (turned(part.flatten(0, 1)).view_as(part) for part in (q, k))
    expected = attention_by_loops(q, k, v).transpose(1, 2).flatten(2) @ unit.out.weight.T
    assert largest_difference(unit(x)[0], expected) < 1e-8


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 29])
def test_sliding_window_equals_loops(length):
    hyper = {"head_dim": 16, "window": 8}
    unit = randomise(make("sliding_window_attention", 32, hyper=hyper))
    x = draw(2, length, 32)
    q, k, v = (heads(part, 16) for part in (x @ unit.qkv.weight.T).chunk(3, -1))
    q, k = (turned(part.flatten(0, 1)).view_as(part) for part in (q, k))
    expected = attention_by_loops(q, k, v, window=8).transpose(1, 2).flatten(2)
    assert largest_difference(unit(x)[0], expected @ unit.out.weight.T) < 1e-8


def test_value_residual_hands_the_first_values_to_later_blocks():
    """The second block mixes the first block's values, the third still those of the first."""
    units = [randomise(make("value_residual_attention", 32), seed) for seed in range(3)]
    x, z, first = draw(2, 9, 32), {"other": 1}, None
    for unit in units:
        q, k = (heads(part, 32) for part in (x @ unit.qk.weight.T).chunk(2, -1))
        q, k = (turned(part.flatten(0, 1)).view_as(part) for part in (q, k))
        own = x @ unit.value.weight.T
        first = own if first is None else first
        v = heads(unit.own * own + unit.first * first, 32)
        expected = attention_by_loops(q, k, v).transpose(1, 2).flatten(2) @ unit.out.weight.T
        x, z = unit(x, **z)
        assert largest_difference(x, expected) < 1e-8
        assert largest_difference(z["first_values"], first) == 0
    assert z["other"] == 1


def test_value_residual_ignores_values_of_another_shape():
    unit = randomise(make("value_residual_attention", 32))
    x, alien = draw(2, 5, 32), draw(2, 5, 16)
    alone, _ = unit(x)
    beside, z = unit(x, first_values=alien)
    assert largest_difference(alone, beside) == 0
    assert z["first_values"] is alien


class _Cuda(torch.Tensor):
    """A CPU tensor that says it is on CUDA."""

    is_cuda = True


@pytest.mark.parametrize("refuses", [False, True])
def test_on_cuda_attention_goes_to_xformers_or_falls_back(monkeypatch, refuses):
    """A stand-in with xformers' layout (B, T, H, D): the numbers are the same either way."""
    calls = []

    def memory_efficient_attention(q, k, v, attn_bias):
        calls.append(attn_bias)
        if refuses:
            raise NotImplementedError("no kernel")
        return attention_by_loops(*(part.transpose(1, 2) for part in (q, k, v))).transpose(1, 2)

    fake = types.ModuleType("xformers.ops")
    fake.LowerTriangularMask = lambda: "causal"
    fake.memory_efficient_attention = memory_efficient_attention
    monkeypatch.setitem(sys.modules, "xformers", types.ModuleType("xformers"))
    monkeypatch.setitem(sys.modules, "xformers.ops", fake)
    attend = sys.modules[type(make("causal_attention", 32)).__module__].attend
    parts = [draw(2, 3, 9, 16, seed=seed) for seed in range(3)]
    there = attend(*(part.as_subclass(_Cuda) for part in parts))
    assert largest_difference(there.as_subclass(torch.Tensor), attend(*parts)) < 1e-10
    assert calls == ["causal"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_attention_on_cuda_equals_cpu():
    unit = make("causal_attention", 64, dtype=torch.float32)
    x = draw(2, 100, 64, dtype=torch.float32)
    here, there = unit(x)[0], unit.cuda()(x.cuda())[0].cpu()
    assert largest_difference(here, there) < 1e-4


def test_gpt_block_equals_llama():
    """Attention, rotary position, RMSNorm and SwiGLU against transformers, weights copied."""
    from transformers.models.llama.configuration_llama import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

    block = make(
        "pre_norm_block", 64, dtype=torch.float32, norm_1="rms_norm", norm_2="rms_norm",
        mlp="swiglu_mlp",
    )  # fmt: skip
    randomise(block, size=0.1)
    config = LlamaConfig(
        hidden_size=64, intermediate_size=block.mlp.down.in_features, num_attention_heads=2,
        num_key_value_heads=2, rms_norm_eps=1e-5, attn_implementation="eager",
    )  # fmt: skip
    layer = LlamaDecoderLayer(config, layer_idx=0)
    q, k, v = block.mixer.qkv.weight.chunk(3)
    gate, up = block.mlp.gate_up.weight.chunk(2)
    layer.load_state_dict(
        {
            "self_attn.q_proj.weight": q,
            "self_attn.k_proj.weight": k,
            "self_attn.v_proj.weight": v,
            "self_attn.o_proj.weight": block.mixer.out.weight,
            "mlp.gate_proj.weight": gate,
            "mlp.up_proj.weight": up,
            "mlp.down_proj.weight": block.mlp.down.weight,
            "input_layernorm.weight": block.norm_1.weight,
            "post_attention_layernorm.weight": block.norm_2.weight,
        }
    )
    x = draw(2, 37, 64, dtype=torch.float32)
    mask = torch.full((1, 1, 37, 37), float("-inf")).triu(1)
    embeddings = LlamaRotaryEmbedding(config)(x, torch.arange(37)[None])
    theirs = layer(x, attention_mask=mask, position_embeddings=embeddings)
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    assert largest_difference(block(x)[0], theirs) < 1e-4
