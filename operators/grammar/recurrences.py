"""Sequence cores with a vector memory: gated linear recurrences, run as a parallel scan."""

from __future__ import annotations

import random

from genesys_engine.operators.grammar.fragment import Fragment, Knob, join

EXPAND = Knob("expand", 1, (1, 2), "width of the state in multiples of d_model")
_WIDTH = Fragment(knobs=(EXPAND,), init="width = expand * d_model")

_MIN_GRU = Fragment(
    word="MinGru",
    doc="Recurrence whose gate mixes old state and new candidate (minGRU, arXiv 2410.01201).",
    init="self.gates = nn.Linear(d_model, width, bias=False, **kw)",
    forward="""
        write = torch.sigmoid(self.gates(x))
        y = linear_scan(1 - write, write * u)
    """,
)
_MIN_LSTM = Fragment(
    word="MinLstm",
    doc="Recurrence with forget and write gates that sum to one (minLSTM, arXiv 2410.01201).",
    init="self.gates = nn.Linear(d_model, 2 * width, bias=False, **kw)",
    forward="""
        forget, write = torch.sigmoid(self.gates(x)).chunk(2, -1)
        y = linear_scan(forget / (forget + write), write / (forget + write) * u)
    """,
)
_RG_LRU = Fragment(
    word="RgLru",
    doc="Recurrence with gated decay and input scaled to keep its variance"
    " (RG-LRU, De et al. 2024, arXiv 2402.19427).",
    init="""
        self.gates = nn.Linear(d_model, 2 * width, bias=False, **kw)
        self.decay = nn.Parameter(torch.linspace(-7, -2, width, **kw))
    """,
    forward="""
        recur, write = torch.sigmoid(self.gates(x)).chunk(2, -1)
        log_decay = -8 * recur * F.softplus(self.decay)
        scale = (1e-6 - torch.expm1(2 * log_decay)).sqrt()
        y = linear_scan(log_decay.exp(), scale * write * u)
    """,
)
_SELECTIVE = Fragment(
    word="Selective",
    doc="Recurrence whose step size the token sets (selective state space with a state of one,"
    " Gu & Dao 2023, arXiv 2312.00752).",
    init="""
        self.gates = nn.Linear(d_model, width, bias=False, **kw)
        self.step_bias = nn.Parameter(torch.linspace(-5, -1, width, **kw))
        self.rate = nn.Parameter(torch.zeros(width, **kw))
    """,
    forward="""
        step = F.softplus(self.gates(x) + self.step_bias)
        y = linear_scan(torch.exp(-step * F.softplus(self.rate)), step * u)
    """,
)
_HIERARCHICAL = Fragment(
    word="Hierarchical",
    doc="Recurrence whose forget gate has a floor that rises with depth"
    " (HGRN, Qin et al. 2023, arXiv 2311.04823).",
    init="""
        self.gates = nn.Linear(d_model, width, bias=False, **kw)
        self.floor = 0.9 * block_loc[0] / max(1, block_loc[1])
    """,
    forward="""
        forget = self.floor + (1 - self.floor) * torch.sigmoid(self.gates(x))
        y = linear_scan(forget, (1 - forget) * u)
    """,
)
_AVERAGING = Fragment(
    word="Averaging",
    doc="Exponential moving averages, each channel at a learned rate"
    " (as in Mega, Ma et al. 2022, arXiv 2209.10655).",
    init="self.decay = nn.Parameter(torch.linspace(-4, 4, width, **kw))",
    forward="""
        kept = torch.sigmoid(self.decay).expand_as(u)
        y = linear_scan(kept, (1 - kept) * u)
    """,
)
_SIGNED = Fragment(
    word="Signed",
    doc="Recurrence whose state may flip its sign: the transition lies in (-1, 1), which lets it"
    " count modulo two (Grazzi et al. 2024, arXiv 2411.12537).",
    init="""
        self.gates = nn.Linear(d_model, width, bias=False, **kw)
        self.decay = nn.Parameter(torch.linspace(-1, 3, width, **kw))
    """,
    forward="""
        transition = torch.tanh(self.gates(x) + self.decay)
        y = linear_scan(transition, (1 - transition.abs()) * u)
    """,
)
_CELLS = (_MIN_GRU, _MIN_LSTM, _RG_LRU, _SELECTIVE, _HIERARCHICAL, _AVERAGING, _SIGNED)

_CANDIDATES = {
    "": "self.candidate(x)",
    "Tanh": "torch.tanh(self.candidate(x))",
    "Silu": "F.silu(self.candidate(x))",
}
_READS = (
    Fragment(),
    Fragment(
        word="Skip",
        doc="The new candidate is also read directly, scaled per channel.",
        init="self.skip = nn.Parameter(torch.ones(width, **kw))",
        forward="y = y + self.skip * u",
    ),
    Fragment(
        word="Surprise",
        doc="What is read is the difference between the candidate and the state before it.",
        forward="y = u - shift(y, 1)",
        helpers=("shift",),
    ),
)


def gated_recurrence(rng: random.Random, leaf: bool) -> Fragment:
    """Return a gated recurrence: kind of cell, candidate's activation, and what is read."""
    word = rng.choice(tuple(_CANDIDATES))
    candidate = Fragment(
        word=word,
        init="self.candidate = nn.Linear(d_model, width, bias=False, **kw)",
        forward=f"u = {_CANDIDATES[word]}",
        helpers=("linear_scan",),
    )
    cell = rng.choice(_CELLS)
    title = Fragment(doc=cell.doc)
    return join([title, _WIDTH, candidate, _bare(cell), rng.choice(_READS)])


def _bare(cell: Fragment) -> Fragment:
    """Return the cell without its sentence, which already opens the docstring."""
    return Fragment(cell.word, "", cell.init, cell.forward)
