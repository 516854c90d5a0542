"""Attacks by composition: something out of reach, what is done with it, and where that stands.

Every product of the three is an attack of its own, harmless as the kinds are.
"""

import random
from itertools import product
from typing import NamedTuple

# class of construct -> expressions that lead to what is not the block's
REACHED = {
    "a module as a value": ["[torch][0]", "(torch if X0 else nn)", "(lambda m=F: m)()"],
    "a module of a module": ["torch.sys", "F.importlib", "nn.modules.module.warnings"],
    "a member that reaches out": ["torch.ops", "torch.load", "torch.jit.CompilationUnit"],
    "a function of Python": ["eval", "open", "[exec][0]", "__import__('os')", "vars()"],
    "a special attribute": ["max.__self__", "(lambda: 0).__globals__", "object.__subclasses__()"],
    "a frame": ["(x for x in ()).gi_frame", "(x for x in ()).gi_code", "[].tb_frame"],
    "a name that is put together": [
        "getattr(torch, 's' + 'ys')",
        "getattr(nn, ''.join(['Lin', 'ear']))",
        "'{0.a}'.format(1)",
        "(lambda t: t.format(1))('{0.a}')",
    ],
    "a class at run time": [
        "type('A', (), {})",
        "type(nn.Linear)('A', (), {})",
        "[type][0]('A', (), {})",
    ],
    "memory": ["torch.ones(1).numpy()", "torch.ones(1).untyped_storage()", "memoryview(b'')"],
    "the graph": ["torch.ones(1).grad_fn", "nn.Linear(1, 1)._forward_hooks"],
}
DONE = {
    "read": "({0})",
    "called": "({0})()",
    "marked": "setattr({0}, 'MARK', 1)",
    "asked": "hasattr({0}, 'MARK')",
    "kept": "[{0}]",
    "handed on": "print({0})",
    "shown": "str({0})",
    "named": "(kept := {0})",
    "unpacked": "(*[{0}],)",
    "chosen": "(1 and {0})",
    "indexed": "{{1: {0}}}[1]",
    "later": "(lambda: {0})",
    "each": "[{0} for _ in (1,)]",
    "compared": "({0} == 1)",
}
PLACES = {
    "at the top": "{0}",
    "in a function": "def f():\n    return {0}",
    "in a default": "def f(x={0}): ...",
    "in a default by name": "def f(*, x={0}): ...",
    "in a decorator": "@(lambda f: {0})\ndef g(): ...",
    "in an annotation": "def f(x: {0}): ...",
    "in a reply's annotation": "def f() -> {0}: ...",
    "in a class": "class A:\n    x = {0}",
    "in a method": "class A(nn.Module):\n    def forward(self, x):\n        return {0}",
    "in a property": "class A:\n    @property\n    def x(self):\n        return {0}",
    "in a gradient": "class A(torch.autograd.Function):\n    @staticmethod\n"
    "    def backward(ctx, x):\n        return {0}",
    "in a nested class": "class A:\n    class B:\n        def f(self):\n            return {0}",
    "in a generator": "def f():\n    yield {0}",
    "in a loop": "for x in ({0},): ...",
    "in a try": "try:\n    {0}\nexcept Exception:\n    pass",
    "in a handler": "try:\n    1 / 0\nexcept Exception:\n    {0}",
    "at the end of a try": "try:\n    pass\nfinally:\n    {0}",
    "in a with": "with torch.no_grad():\n    {0}",
    "in a condition": "if X0:\n    {0}",
    "in a pattern's guard": "match 1:\n    case x if {0}: ...",
    "in an assertion": "assert {0}",
    "in a deletion": "del [{0}][0]",
    "in a sum": "x = 0\nx += {0}",
}


class Variant(NamedTuple):
    """One product; `name` says of what."""

    name: str
    source: str


def every_variant():
    """Yield every product of something out of reach, one use of it and one place."""
    for (expression, done), place in product(product(_expressions(), DONE), PLACES):
        yield _variant(expression, (done,), place)


def deeper_variants(how_many, seed):
    """Return so many with two to four uses one inside the other, drawn as the seed says."""
    draw = random.Random(seed)
    expressions = _expressions()
    return [
        _variant(
            draw.choice(expressions),
            tuple(draw.choices([*DONE], k=draw.randint(2, 4))),
            draw.choice([*PLACES]),
        )
        for _ in range(how_many)
    ]


def _expressions():
    return [each for found in REACHED.values() for each in found]


def _variant(expression, uses, place):
    made = expression
    for use in uses:
        made = DONE[use].format(made)
    return Variant(f"{expression}: {', '.join(uses)} {place}", PLACES[place].format(made))
