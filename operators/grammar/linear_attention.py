"""Sequence cores with a matrix memory: decayed linear attention and the delta rule."""

from __future__ import annotations

import random

from genesys_engine.operators.grammar.fragment import Fragment, Knob, SlotDraft, join, lines

HEAD_DIM = Knob("head_dim", 32, (16, 32, 64), "width of one head, lowered until it divides d_model")
POSITION = SlotDraft("position", "position", "turns queries and keys by their place in time")

HEADS = """
    head_dim = 16 * largest_divisor(d_model // 16, head_dim // 16)
    self.heads = d_model // head_dim
"""
QKV = Fragment(
    init=lines(HEADS, "self.qkv = nn.Linear(d_model, 3 * d_model, bias=False, **kw)"),
    forward="q, k, v = (split_heads(u, self.heads) for u in self.qkv(x).chunk(3, -1))",
    knobs=(HEAD_DIM,),
    helpers=("largest_divisor", "split_heads", "merge_heads"),
)

_SIGNED_FEATURES = {
    "": ("the identity", "{}"),
    "Unit": ("their direction (L2 normalised)", "F.normalize({}, dim=-1)"),
    "Silu": ("SiLU", "F.silu({})"),
    "Relu": ("ReLU", "F.relu({})"),
    "SquaredRelu": ("squared ReLU", "F.relu({}).square()"),
    "Tanh": ("tanh", "torch.tanh({})"),
}
_POSITIVE_FEATURES = {
    "Elu": ("ELU + 1", "F.elu({}) + 1"),
    "Sigmoid": ("the sigmoid", "torch.sigmoid({})"),
    "Softmax": ("a softmax over the features", "{}.softmax(-1)"),
    "Softplus": ("softplus", "F.softplus({})"),
}

_NO_DECAY = Fragment(
    word="",
    doc="The memory never fades.",
    forward="mask = torch.ones(q.shape[2], q.shape[2], dtype=q.dtype, device=q.device).tril()",
)
_FIXED_DECAY = Fragment(
    word="FixedDecay",
    doc="Each head forgets at a fixed rate of its own, 1 - 2^-(1..8) (RetNet, arXiv 2307.08621).",
    forward="""
        rates = torch.linspace(-1, -8, self.heads, dtype=q.dtype, device=q.device).exp2()
        mask = decay_mask(torch.log1p(-rates)[:, None].expand(-1, q.shape[2]))
    """,
    helpers=("decay_mask",),
)
_LEARNED_DECAY = Fragment(
    word="LearnedDecay",
    doc="Each head forgets at a learned rate.",
    init="self.decay = nn.Parameter(torch.linspace(-6, 0, self.heads, **kw))",
    forward="mask = decay_mask(-F.softplus(self.decay)[:, None].expand(-1, q.shape[2]))",
    helpers=("decay_mask",),
)
_DATA_DECAY = Fragment(
    word="DataDecay",
    doc="Each head forgets at a rate that the token sets (Mamba2, arXiv 2405.21060).",
    init="""
        self.decay = nn.Parameter(torch.linspace(-6, 0, self.heads, **kw))
        self.forget = nn.Linear(d_model, self.heads, bias=False, **kw)
    """,
    forward="""
        log_decay = -F.softplus(self.forget(x) + self.decay).transpose(1, 2)
        mask = decay_mask(log_decay)
    """,
    helpers=("decay_mask",),
)
_CHANNEL_DECAY = Fragment(
    word="ChannelDecay",
    doc="Each key channel forgets at a rate that the token sets (GLA, arXiv 2312.06635).",
    init="""
        self.decay = nn.Parameter(torch.linspace(-6, 1, d_model, **kw))
        self.forget = nn.Sequential(
            nn.Linear(d_model, 16, bias=False, **kw), nn.Linear(16, d_model, bias=False, **kw)
        )
    """,
    forward="log_decay = -split_heads(torch.sigmoid(self.forget(x) + self.decay), self.heads)",
    helpers=("channel_decayed_attention",),
)
_TIED_KEYS = {
    "DataDecay": "k = k * -torch.expm1(log_decay).unsqueeze(-1)",
    "ChannelDecay": "k = k * -torch.expm1(log_decay)",
}
_DECAYS = (_NO_DECAY, _FIXED_DECAY, _LEARNED_DECAY, _DATA_DECAY, _CHANNEL_DECAY)


def linear_attention(rng: random.Random, leaf: bool) -> Fragment:
    """Return linear attention: a feature map, a kind of decay, tied keys or not, a read-out."""
    summed = rng.random() < 0.4
    table = _POSITIVE_FEATURES if summed else _SIGNED_FEATURES | _POSITIVE_FEATURES
    word = rng.choice(tuple(table))
    decay = rng.choice(_DECAYS)
    title = Fragment(
        word=f"{word}Linear" + ("Normalised" if summed else ""),
        doc="Linear attention (Katharopoulos et al. 2020, arXiv 2006.16236) with"
        f" {'a' if decay.word else 'no'} decay.",
    )
    parts = [title, QKV, _position(rng, leaf or word != ""), _features(*table[word]), decay]
    if decay.word in _TIED_KEYS and rng.random() < 0.4:
        parts.append(_tied(decay.word))
    return join([*parts, _read_out(decay, summed), Fragment(word="Attention")])


def delta_rule(rng: random.Random, leaf: bool) -> Fragment:
    """Return a delta-rule memory: a feature map, the range of its write strength, a decay."""
    word = rng.choice(("Unit", "SiluUnit", "EluUnit"))
    inner = {"Unit": "{}", "SiluUnit": "F.silu({})", "EluUnit": "F.elu({}) + 1"}[word]
    decay = rng.choice((_NO_DECAY, _FIXED_DECAY, _LEARNED_DECAY, _DATA_DECAY))
    reach, scale = rng.choice((("", ""), ("Reflecting", "2 * ")))
    title = Fragment(
        word=f"{reach}{word}DeltaRule",
        doc="Memory written by the delta rule (Yang et al. 2024, arXiv 2406.06484).\n"
        "The memory is corrected by the difference between a value and its own recall of it.",
    )
    write = Fragment(
        doc="The write strength lies in (0, 2): memory may be reflected." if reach else "",
        init="self.strength = nn.Linear(d_model, self.heads, bias=False, **kw)",
        forward=f"""
            beta = {scale}torch.sigmoid(self.strength(x)).transpose(1, 2).unsqueeze(-1)
            y = merge_heads(delta_rule(q, k, v, beta, mask))
        """,
        helpers=("delta_rule",),
    )
    features = _features("unit vectors", f"F.normalize({inner}, dim=-1)")
    return title + QKV + _position(rng, leaf or word != "Unit") + features + decay + write


def _position(rng: random.Random, without: bool) -> Fragment:
    """Return a position slot for queries and keys, or nothing."""
    if without or rng.random() < 0.5:
        return Fragment()
    return Fragment(
        word="Positional",
        slots=(POSITION,),
        init="self.position = position(head_dim)",
        forward="""
            q, Z = self.position(q.flatten(0, 1), **Z)
            k, Z = self.position(k.flatten(0, 1), **Z)
            q, k = q.reshape(v.shape), k.reshape(v.shape)
        """,
    )


def _features(name: str, expression: str) -> Fragment:
    doc = f"Queries and keys pass through {name}." if expression != "{}" else ""
    code = f"q, k = {expression.format('q')}, {expression.format('k')}"
    return Fragment(doc=doc, forward=code if doc else "")


def _tied(kind: str) -> Fragment:
    return Fragment(
        word="Tied",
        doc="A key is written as strongly as the memory is forgotten (HGRN2, arXiv 2404.07904).",
        forward=_TIED_KEYS[kind],
    )


def _read_out(decay: Fragment, summed: bool) -> Fragment:
    """Return the product of queries with the memory and its normalisation."""
    by_channel = decay is _CHANNEL_DECAY
    product = (
        "channel_decayed_attention(q, k, v, log_decay)" if by_channel else "(q @ k.mT * mask) @ v"
    )
    if summed:
        return Fragment(
            doc="The read-out is divided by the sum of its weights.",
            forward=f"""
                v = torch.cat([v, torch.ones_like(v[..., :1])], -1)
                y = {product}
                y = merge_heads(y[..., :-1] / (y[..., -1:] + 1e-6))
            """,
        )
    return Fragment(
        doc="Each head is normalised by its root mean square.",
        init="self.gain = nn.Parameter(torch.ones(head_dim, **kw))",
        forward=f"""
            y = {product}
            y = merge_heads(F.rms_norm(y, y.shape[-1:], self.gain, 1e-6))
        """,
    )
