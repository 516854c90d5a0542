"""Element-wise functions that several productions choose from: word in the name -> expression."""

from __future__ import annotations

import random

_SMOOTH = {
    "Silu": "F.silu({})",
    "Gelu": 'F.gelu({}, approximate="tanh")',
    "Tanh": "torch.tanh({})",
    "Softplus": "F.softplus({})",
    "Mish": "F.mish({})",
    "Elu": "F.elu({})",
    "Sine": "torch.sin({})",
    "Softsign": "F.softsign({})",
}
_KINKED = {
    "Relu": "F.relu({})",
    "SquaredRelu": "F.relu({}).square()",
    "LeakyRelu": "F.leaky_relu({}, 0.1)",
}
ACTIVATIONS = {**_SMOOTH, **_KINKED}


def choose_activation(rng: random.Random, argument: str) -> tuple[str, str]:
    """Return the word and the expression of an activation applied to `argument`."""
    word = rng.choice(tuple(ACTIVATIONS))
    return word, ACTIVATIONS[word].format(argument)
