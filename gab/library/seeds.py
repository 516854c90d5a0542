"""The five designs that evolution starts from, and hybrids of them, as trees of library units.

Each follows its paper at the unit's defaults; where a size is a choice, the docstring says which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from genesys_engine.gab.library import unit
from genesys_engine.gab.tree import GABTree, grow


def gpt() -> GABTree:
    """Return the pre-norm transformer: causal attention with rotary position, gated MLP.

    Source: Touvron et al. 2023 (Llama), arXiv 2302.13971, section 2.2.
    """
    return _pre_norm(
        "rms_norm",
        mixer=grow(unit("causal_attention"), {"position": grow(unit("rotary"))}),
        mlp=grow(unit("swiglu_mlp")),
    )


def mamba2() -> GABTree:
    """Return Mamba-2: one residual mixer per block, no MLP.

    Source: Dao and Gu 2024, arXiv 2405.21060, section 7; state size 64 (published: 64 to 256).
    """
    mixer = grow(
        unit("mamba2_mixer"),
        {
            "convolution": grow(unit("short_convolution")),
            "recurrence": grow(unit("scalar_decay_recurrence")),
            "gated_norm": grow(unit("rms_norm")),
        },
    )
    return grow(unit("residual_block"), {"norm": grow(unit("rms_norm")), "mixer": mixer})


def retnet() -> GABTree:
    """Return RetNet: multi-scale retention and a plain MLP of twice the width.

    Source: Sun et al. 2023, arXiv 2307.08621, section 2; values twice as wide as keys and the
    MLP half as wide as a transformer's, as in section 3.1.
    """
    mixer = grow(
        unit("multi_scale_retention"),
        {
            "position": grow(unit("rotary")),
            "recurrence": grow(unit("scalar_decay_recurrence")),
            "head_norm": grow(unit("rms_norm")),
        },
    )
    return _pre_norm("layer_norm", mixer=mixer, mlp=grow(unit("gelu_mlp"), expand=2))


def rwkv6() -> GABTree:
    """Return RWKV-6 (Finch): time mixing and channel mixing.

    Source: Peng et al. 2024, arXiv 2404.05892.
    """
    shift = grow(unit("token_shift"))
    mixer = grow(
        unit("rwkv6_time_mix"),
        {"shift": shift, "recurrence": grow(unit("channel_decay_recurrence"))},
    )
    mlp = grow(unit("rwkv6_channel_mix"), {"shift": shift})
    return _pre_norm("layer_norm", mixer=mixer, mlp=mlp)


def ttt() -> GABTree:
    """Return TTT-Linear in the transformer backbone: the attention's place, a gated MLP.

    Source: Sun et al. 2024, arXiv 2407.04620, section 2.7; inner mini-batch 16.
    """
    mixer = grow(
        unit("ttt_linear"),
        {"position": grow(unit("rotary")), "out_norm": grow(unit("layer_norm"))},
    )
    return _pre_norm("rms_norm", mixer=mixer, mlp=grow(unit("swiglu_mlp")))


def mamba2_mamba2_gpt() -> GABTree:
    """Return two layers of Mamba-2 and one of the transformer, repeated.

    A hybrid over depth, as in Jamba, Lieber et al. 2024, arXiv 2403.19887, which has one layer of
    attention in eight; one in three is made up here, for stacks of few layers.
    """
    return grow(unit("layer_pattern"), {"a": mamba2(), "b": gpt()}, pattern="aab")


def _pre_norm(norm: str, *, mixer: GABTree, mlp: GABTree) -> GABTree:
    children: Mapping[str, GABTree] = {
        "norm_1": grow(unit(norm)),
        "mixer": mixer,
        "norm_2": grow(unit(norm)),
        "mlp": mlp,
    }
    return grow(unit("pre_norm_block"), children)


SEEDS: dict[str, Callable[[], GABTree]] = {
    "gpt": gpt,
    "mamba2": mamba2,
    "retnet": retnet,
    "rwkv6": rwkv6,
    "ttt": ttt,
}

HYBRIDS: dict[str, Callable[[], GABTree]] = {
    "mamba2_mamba2_gpt": mamba2_mamba2_gpt,
}
"""Stacks of different seeds: known by name, but no default where all seeds are meant."""
