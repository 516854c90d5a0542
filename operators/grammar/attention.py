"""Sequence cores that weigh the past by the similarity of queries and keys: softmax attention."""

from __future__ import annotations

import random

from genesys_engine.operators.grammar.fragment import Fragment, Knob, join, lines
from genesys_engine.operators.grammar.linear_attention import HEAD_DIM, HEADS, POSITION

WINDOW = Knob("window", 64, (16, 32, 64, 128), "positions that a query sees, its own included")
_BASE_MASK = """
    time = torch.arange(T, device=q.device)
    lag = time[:, None] - time[None, :]
"""
_BIASES = {
    "": Fragment(forward="bias = torch.zeros(1, T, T, dtype=q.dtype, device=q.device)"),
    "Alibi": Fragment(
        word="Alibi",
        doc="Scores fall linearly with distance, each head at a fixed slope (arXiv 2108.12409).",
        forward="""
            slope = torch.linspace(-1, -8, self.heads, dtype=q.dtype, device=q.device).exp2()
            bias = -slope[:, None, None] * lag
        """,
    ),
    "Slope": Fragment(
        word="Slope",
        doc="Scores fall linearly with distance, each head at a learned slope.",
        init="self.slope = nn.Parameter(torch.linspace(-6, 0, self.heads, **kw))",
        forward="bias = -F.softplus(self.slope)[:, None, None] * lag",
    ),
    "Logarithmic": Fragment(
        word="Logarithmic",
        doc="Scores fall with the logarithm of distance, each head at a learned slope.",
        init="self.slope = nn.Parameter(torch.linspace(-4, 1, self.heads, **kw))",
        forward="""
            distance = lag.clamp(min=0).to(q.dtype).log1p()
            bias = -F.softplus(self.slope)[:, None, None] * distance
        """,
    ),
    "Forgetting": Fragment(
        word="Forgetting",
        doc="Scores fall by a forget gate of each token (Lin et al. 2025, arXiv 2503.02130).",
        init="""
            self.decay = nn.Parameter(torch.linspace(2, 7, self.heads, **kw))
            self.forget = nn.Linear(d_model, self.heads, bias=False, **kw)
        """,
        forward="""
            kept = F.logsigmoid(self.forget(x) + self.decay).transpose(1, 2).cumsum(-1)
            bias = kept.unsqueeze(-1) - kept.unsqueeze(-2)
        """,
    ),
}


def softmax_attention(rng: random.Random, leaf: bool) -> Fragment:
    """Return attention: span, bias by distance, shared keys, normed scores, kind of weights."""
    bias = rng.choice(tuple(_BIASES))
    parts = [_span_title(rng), _projections(rng), _query_key_norm(rng)]
    if not leaf and rng.random() < 0.6:
        parts.append(_POSITION)
    parts += [Fragment(forward=_BASE_MASK), _BIASES[bias], *_visible(parts[0]), _weights(rng)]
    return join([*parts, Fragment(word="Attention")])


def _span_title(rng: random.Random) -> Fragment:
    """Return the opening that says which positions a query sees."""
    return rng.choice(
        (
            Fragment(doc="Causal self-attention over the whole past (arXiv 1706.03762)."),
            Fragment(
                word="Window",
                doc="Causal self-attention over a sliding window (arXiv 2004.05150).",
                knobs=(WINDOW,),
                init="self.window = window",
            ),
            Fragment(
                word="Strided",
                doc="Causal self-attention over a near window and every few positions before it.",
                knobs=(WINDOW, Knob("stride", 8, (4, 8, 16), "step between far positions seen")),
                init="self.window, self.stride = window, stride",
            ),
        )
    )


def _visible(span: Fragment) -> tuple[Fragment, ...]:
    """Return the mask that belongs to a span; the query's own position is always seen."""
    near = {
        "": "lag >= 0",
        "Window": "(lag >= 0) & (lag < self.window)",
        "Strided": "(lag >= 0) & ((lag < self.window) | (lag % self.stride == 0))",
    }[span.word]
    return (Fragment(forward=f"visible = {near}"),)


_POSITION = Fragment(
    word="Positional",
    slots=(POSITION,),
    init="self.position = position(head_dim)",
    forward="""
        q_rows, Z = self.position(q.flatten(0, 1), **Z)
        k_rows, Z = self.position(k.flatten(0, 1), **Z)
        q, k = q_rows.reshape(q.shape), k_rows.reshape(k.shape)
    """,
)


def _projections(rng: random.Random) -> Fragment:
    """Return queries, keys and values; keys and values of their own per head, or shared."""
    if rng.random() < 0.5:
        return Fragment(
            init=lines(HEADS, "self.qkv = nn.Linear(d_model, 3 * d_model, bias=False, **kw)"),
            forward="""
                T = x.shape[1]
                q, k, v = (split_heads(u, self.heads) for u in self.qkv(x).chunk(3, -1))
            """,
            knobs=(HEAD_DIM,),
            helpers=("largest_divisor", "split_heads", "merge_heads"),
        )
    return Fragment(
        word="Multiquery",
        doc="All heads share one key and one value (Shazeer 2019, arXiv 1911.02150).",
        init=lines(
            HEADS,
            "self.widths = (d_model, head_dim, head_dim)",
            "self.qkv = nn.Linear(d_model, sum(self.widths), bias=False, **kw)",
        ),
        forward="""
            T = x.shape[1]
            q, k, v = self.qkv(x).split(self.widths, -1)
            q, k, v = split_heads(q, self.heads), k.unsqueeze(1), v.unsqueeze(1)
        """,
        knobs=(HEAD_DIM,),
        helpers=("largest_divisor", "split_heads", "merge_heads"),
    )


def _query_key_norm(rng: random.Random) -> Fragment:
    if rng.random() < 0.5:
        return Fragment(forward="q = q * q.shape[-1] ** -0.5")
    return Fragment(
        word="Normed",
        doc="Queries and keys are unit vectors; each head learns its temperature"
        " (Henry et al. 2020, arXiv 2010.04245).",
        init="self.temperature = nn.Parameter(torch.full((self.heads, 1, 1), 8.0, **kw))",
        forward="q, k = self.temperature * F.normalize(q, dim=-1), F.normalize(k, dim=-1)",
    )


def _weights(rng: random.Random) -> Fragment:
    """Return how scores become weights: softmax, softmax with a sink, or sigmoid."""
    scores = "scores = (q @ k.mT + bias).masked_fill(~visible, float('-inf'))".replace("'", '"')
    plain = Fragment(
        forward="""
            mask = bias.masked_fill(~visible, float("-inf")).expand(len(x), self.heads, T, T)
            k, v = k.expand_as(q), v.expand_as(q)
            y = merge_heads(F.scaled_dot_product_attention(q, k, v, mask, scale=1.0))
        """
    )
    sink = Fragment(
        word="Sink",
        doc="Each head may attend to nothing: a learned score takes part in the softmax.",
        init="self.sink = nn.Parameter(torch.zeros(self.heads, 1, 1, **kw))",
        forward=f"""
            {scores}
            nothing = self.sink.expand(*scores.shape[:-1], 1)
            weights = torch.cat([scores, nothing], -1).softmax(-1)[..., :-1]
            y = merge_heads(weights @ v)
        """,
    )
    sigmoid = Fragment(
        word="Sigmoid",
        doc="Weights are sigmoids of scores less the logarithm of the positions seen"
        " (Ramapuram et al. 2024, arXiv 2409.04431).",
        forward=f"""
            {scores}
            seen = visible.sum(-1, keepdim=True).to(q.dtype).log()
            y = merge_heads(torch.sigmoid(scores - seen) @ v)
        """,
    )
    return rng.choice((plain, plain, sink, sigmoid))
