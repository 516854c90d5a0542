"""The pieces that a grammar joins into the source of a unit.

A production returns a `Fragment`: what it adds to the name, the docstring, the constructor and
`forward`.  Fragments are added with `+` in the order of computation and rendered once.  Code in
fragments follows one convention: `forward` receives `X`, a fragment reads `x` and leaves its
result in `x` or `y`, and `kw` holds device and dtype in the constructor.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from genesys_engine.gab.syntax import parse

_WIDTH = 96
_HELPER_FILE = Path(__file__).with_name("torch_helpers.py")
_IMPORTS = (
    (r"\bmath\.", "import math"),
    (r"\btorch\.", "import torch"),
    (r"\bF\.", "import torch.nn.functional as F"),
    (r"\bnn\.", "from torch import nn"),
)


@dataclass(frozen=True)
class Knob:
    """A hyper-parameter of a unit: its name, default, legal values, and what it means."""

    name: str
    default: int | float
    choices: tuple[int | float, ...]
    meaning: str


@dataclass(frozen=True)
class SlotDraft:
    """A child slot of a unit: its name, the interface that fits, and what is asked of a child."""

    name: str
    interface: str
    requirement: str


@dataclass(frozen=True)
class Fragment:
    """A part of a unit: `word` goes into the class name, `doc` into the docstring.

    `init` and `forward` are blocks of code (any common indentation), `helpers` are names of
    functions of `torch_helpers.py`, and `classes` whole helper modules.
    """

    word: str = ""
    doc: str = ""
    init: str = ""
    forward: str = ""
    knobs: tuple[Knob, ...] = ()
    slots: tuple[SlotDraft, ...] = ()
    helpers: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    def __add__(self, other: Fragment) -> Fragment:
        """Return both parts as one, `other` after `self`; equal knobs and slots are shared."""
        return Fragment(
            self.word + other.word,
            lines(self.doc, other.doc),
            lines(self.init, other.init),
            lines(self.forward, other.forward),
            tuple(dict.fromkeys(self.knobs + other.knobs)),
            tuple(dict.fromkeys(self.slots + other.slots)),
            tuple(dict.fromkeys(self.helpers + other.helpers)),
            self.classes + other.classes,
        )


def lines(*blocks: str) -> str:
    """Join blocks of code, each dedented first; empty ones are left out."""
    clean = (textwrap.dedent(block).strip("\n").rstrip() for block in blocks)
    return "\n".join(block for block in clean if block)


def join(fragments: Iterable[Fragment]) -> Fragment:
    """Return all fragments as one, in their order."""
    return sum(fragments, Fragment())


def render_unit(interface: str, shape: str, body: Fragment, *, inputs: tuple[str, ...] = ()) -> str:
    """Return the source of a unit; `shape` is the sentence that states its map."""
    slots = [f'"{s.name}": ("{s.interface}", "{s.requirement}"),' for s in body.slots]
    choices = [f'"{k.name}": {k.choices!r},' for k in body.knobs]
    children = [s.name for s in body.slots]
    parameters = ["d_model", "block_loc", "*", *children, *_knob_parameters(body)]
    attributes = [
        f'interface = "{interface}"',
        "inputs = (" + "".join(f'"{name}", ' for name in inputs).rstrip(" ") + ")",
        "outputs = ()",
        _literal("slots", slots),
        _literal("choices", choices),
    ]
    main = _class(body.word, _docstring(body, shape), attributes, parameters, "X, **Z", body)
    return _module((*body.classes, main), body.helpers)


def render_path(name: str, body: Fragment) -> str:
    """Return the source of a helper module, one path of a unit: x (B, T, d_model) -> same shape."""
    parameters = ["d_model", "block_loc", "*", *_knob_parameters(body)]
    return _class(name, _docstring(body, ""), [], parameters, "x", body)


def _class(
    name: str, doc: str, attributes: list[str], parameters: list[str], inputs: str, body: Fragment
) -> str:
    kw = 'kw = {"device": device, "dtype": dtype}' if re.search(r"\bkw\b", body.init) else ""
    init = lines("super().__init__()", kw, body.init)
    parts = [f'"""{doc}"""', "\n".join(attributes)]
    parts.append(_signature("__init__", ["self", *parameters, "device=None", "dtype=None"], init))
    parts.append(_signature("forward", ["self", inputs], body.forward))
    text = "\n\n".join(part for part in parts if part)
    return f"class {name}(nn.Module):\n{textwrap.indent(text, '    ')}"


def _module(classes: tuple[str, ...], helpers: Iterable[str]) -> str:
    parts = [*_helper_sources(helpers), *classes]
    code = "\n\n\n".join(parts)
    imports = "\n".join(line for pattern, line in _IMPORTS if re.search(pattern, code))
    return f"{imports}\n\n\n{code}\n"


def _signature(name: str, parameters: list[str], body: str) -> str:
    room = _WIDTH - 4
    line = f"def {name}({', '.join(parameters)}):"
    if len(line) > room:
        line = f"def {name}(\n    {', '.join(parameters)}\n):"
    if max(map(len, line.splitlines())) > room:
        line = f"def {name}(\n    " + ",\n    ".join(parameters) + ",\n):"
    return f"{line}\n{textwrap.indent(body, '    ')}"


def _knob_parameters(body: Fragment) -> list[str]:
    return [f"{k.name}: {type(k.default).__name__} = {k.default!r}" for k in body.knobs]


def _literal(name: str, entries: list[str]) -> str:
    if not entries:
        return f"{name} = {{}}"
    return f"{name} = {{\n    " + "\n    ".join(entries) + "\n}"


def _docstring(body: Fragment, shape: str) -> str:
    title, *rest = body.doc.splitlines()
    knobs = [f"{k.name}: {k.meaning}." for k in body.knobs]
    text = textwrap.wrap(title, _WIDTH - 8)
    paragraph = textwrap.wrap(" ".join([shape, *rest]).strip(), _WIDTH - 8)
    for block in (paragraph, knobs):
        text += ["", *block] if block else []
    return "\n".join(text) + ("\n" if len(text) > 1 else "")


@cache
def _all_helpers() -> dict[str, str]:
    """Return the source of each helper function by name, in file order (read, never run)."""
    text = _HELPER_FILE.read_text(encoding="utf-8")
    functions = (n for n in parse(text).body if isinstance(n, ast.FunctionDef))
    return {n.name: ast.get_source_segment(text, n) or "" for n in functions}


def _helper_sources(names: Iterable[str]) -> list[str]:
    """Return the named helpers and those they call, each once, in file order."""
    helpers = _all_helpers()
    wanted = set(names)
    for name in reversed(helpers):  # a helper calls only helpers that stand above it
        if name in wanted:
            wanted |= {other for other in helpers if re.search(rf"\b{other}\(", helpers[name])}
    return [source for name, source in helpers.items() if name in wanted]
