"""Composition: a tree becomes one readable Python module, and that module a class.

The module holds every unit's source once, with its comments and docstrings, and a class `Block`
that wires them slot by slot; it imports nothing of the engine.  Names that clash between units
(two helpers of one name, two units of one name) are renamed on the syntax tree.

`compose` never runs the sources.  `load_block` does, so only isolated workers call it.
"""

from __future__ import annotations

import itertools
import linecache
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from genesys_engine.gab.raised import block_file

if TYPE_CHECKING:
    from genesys_engine.gab.merge import Merger
    from genesys_engine.gab.tree import GABTree, Place
    from genesys_engine.gab.unit import Unit

_CLASS = '''# ---- The block: every unit at its place ----


class Block(nn.Module):
    """(X, Z) -> (X, Z) with X of shape (batch, time, embed_dim).

    `block_loc` is (index of this block, number of blocks).  A slot takes a factory: the parent
    calls it with the width that its child is to have.
    """

    def __init__(self, embed_dim, block_loc=(0, 1), device=None, dtype=None):
        super().__init__()
        at = {{"block_loc": block_loc, "device": device, "dtype": dtype}}
        self.root = {root}(embed_dim)

    def forward(self, X, **Z):
        return self.root(X, **Z)
'''
_loaded = itertools.count(1)


def compose(tree: GABTree, *, title: str = "") -> str:
    """Return the source of a module that defines the tree's `Block`.

    `Block(embed_dim, block_loc=(0, 1), device=None, dtype=None)` maps (X, Z) to (X, Z).  Equal
    trees and titles give equal sources.

    Raises:
        TreeError: a slot holds the wrong interface, or a hyper-parameter does not fit.
    """
    tree.check_structure()
    sources = tuple(unit.source for unit in tree.units())
    return _composed(_Written(tree.digest, sources, title, tree))


@dataclass(frozen=True)
class _Written:
    """All that a composed module is made of: equal ones give equal modules.

    The digest tells nodes and structure, the sources tell what it leaves out, such as comments.
    """

    digest: str
    sources: tuple[str, ...]
    title: str
    tree: GABTree = field(compare=False)


@lru_cache(maxsize=256)  # of some tens of KB each: what is checked is trained soon after
def _composed(written: _Written) -> str:
    tree, merger = written.tree, _merger()
    added = {unit.digest: (unit, *merger.add(unit)) for unit in tree.units()}
    names = {digest: name for digest, (_, name, _) in added.items()}
    sections = [_section(*each) for each in added.values()]
    wiring = _CLASS.format(root=_wiring(tree, tree.places(), 0, names))
    head = f"{_header(written)}\n\n{merger.imports()}"
    return "\n\n\n".join([head, *sections, wiring])


def class_names(tree: GABTree) -> dict[str, str]:
    """Return the names that the tree's units have in the composed module, by digest."""
    merger = _merger()
    return {unit.digest: merger.add(unit)[0] for unit in tree.units()}


def _merger() -> Merger:
    from genesys_engine.gab.merge import Merger  # not for those who only load a block

    return Merger(reserved={"Block": "", "nn": "torch.nn", "partial": "functools.partial"})


def _header(written: _Written) -> str:
    """Return the module's docstring: title, picture of the tree, digest."""
    tree = written.tree
    first = written.title or f"A language-model block of {len(tree)} units."
    text = f"{first}\n\n{tree.describe()}\n\nTree digest: {written.digest}\n"
    printable = "\n".join(map(_printable, text.split("\n")))
    escaped = printable.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f'"""{escaped}"""'


def _printable(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else "?" for c in line)


def _section(unit: Unit, name: str, text: str) -> str:
    renamed = "" if name == unit.name else f", written as {unit.name}"
    return f"# ---- {name}: {unit.interface}{renamed} ----\n{text}"


def _wiring(tree: GABTree, places: Sequence[Place], index: int, names: Mapping[str, str]) -> str:
    """Return the factory of a place, its children's factories inside it, one line per place."""
    node = places[index].node
    values = "".join(f", {name}={value!r}" for name, value in node.values.items())
    head = f"partial({names[node.unit.digest]}, **at{values}"
    indent = "    " * (places[index].depth + 2)
    children = "".join(
        f"\n{indent}    {slot}={_wiring(tree, places, child, names)},"
        for slot, child in tree.children(index).items()
    )
    return f"{head},{children}\n{indent})" if children else f"{head})"


def load_block(source: str, class_name: str = "Block") -> type:
    """Run a composed module and return its `Block`, or another name that it binds.

    This runs the source in the calling process: only isolated workers and tests call it.  What
    the checks leave out of it (`checks.runnable`) does not run here either.  The module gets a
    name of its own, is registered (so that its classes pickle), and its lines show in tracebacks.
    """
    from genesys_engine.gab.checks.runnable import runnable  # imports torch

    filename = f"{block_file(source)}{next(_loaded)}>"
    name = filename[1:-1]
    lines = [f"{line}\n" for line in source.split("\n")]  # as Python counts, not `splitlines`
    linecache.cache[filename] = (len(source), None, lines, filename)
    module = types.ModuleType(name)
    module.__file__ = filename
    sys.modules[name] = module
    try:
        tree = runnable(source, frozenset({class_name})).module
        exec(compile(tree, filename, "exec", dont_inherit=True), module.__dict__)
        block: type = getattr(module, class_name)
        return block
    except BaseException:
        del sys.modules[name]
        raise
