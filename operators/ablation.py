"""Ablation: what tells a design from another, and the design without each of it.

Both trees are gone through from the root.  Where they differ the other's unit is put back: a unit
that was wrapped around another is taken away, a removed one is put around again, a replaced one is
exchanged back over the same children, a hyper-parameter gets its old value, and layers that differ
become those of the kind that is most like the other's.  The rest of the design stays as it is, so
that what is lost is what this one part gives, given all the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from genesys_engine.gab.errors import TreeError
from genesys_engine.gab.layers import is_pattern, pattern_fault
from genesys_engine.gab.tree import GABTree, grow
from genesys_engine.operators.variation import heirs, kept_slots

ROOT = "root"


@dataclass(frozen=True)
class Part:
    """One difference of a design from another, at a path of the design, in words.

    `without` is the design with this put back; `problem` says why that is no valid design, or "".
    """

    path: str
    change: str
    without: GABTree
    problem: str = ""


def parts(tree: GABTree, base: GABTree) -> list[Part]:
    """Return each difference of `tree` from `base`, outer ones first, none twice.

    Where one thing alone differs, the design without it is `base`.
    """
    found: dict[str, Part] = {}
    for part in _differences(tree, 0, base, 0, ROOT):
        if part.without.digest != tree.digest:
            found.setdefault(part.without.digest, replace(part, problem=_fault(part.without)))
    return list(found.values())


def _differences(tree: GABTree, at: int, base: GABTree, other: int, path: str) -> Iterator[Part]:
    """Yield what differs below two places that correspond."""
    node, old = tree[at], base[other]
    if tree.subtree(at).digest == base.subtree(other).digest:
        return
    if node.unit.digest == old.unit.digest:
        yield from _values(tree, at, base, other, path)
        same = {slot.name: slot.name for slot in node.unit.slots}
        yield from _below(tree, at, base, other, path, same)
    elif (slot := _inner(tree, at, base.subtree(other))) is not None:
        inner = tree.children(at)[slot]
        change = f"{node.name} around {tree[inner].name}: taken away"
        if is_pattern(node.unit):
            change = f"layers that differ ({node.name}): all like {slot} ({tree[inner].name})"
        yield Part(path, change, tree.replace(at, tree.subtree(inner)))
        yield from _differences(tree, inner, base, other, f"{path}.{slot}")
    elif (slot := _inner(base, other, tree.subtree(at))) is not None:
        wrapped = {name: base.subtree(index) for name, index in base.children(other).items()}
        put = grow(old.unit, {**wrapped, slot: tree.subtree(at)}, **old.values)
        yield Part(path, f"{old.name}: put around {node.name} again", tree.replace(at, put))
        yield from _differences(tree, at, base, base.children(other)[slot], path)
    else:
        kept = kept_slots(tree, at, [(slot.name, slot.interface) for slot in old.unit.slots])
        yield _exchanged(tree, at, base, other, path, kept)
        yield from _below(tree, at, base, other, path, kept)


def _exchanged(
    tree: GABTree, at: int, base: GABTree, other: int, path: str, kept: dict[str, str]
) -> Part:
    """Return the part that is a unit in the place of another, over the same children."""
    node, old = tree[at], base[other]
    own, former = tree.children(at), base.children(other)
    children = {
        name: tree.subtree(own[kept[name]]) if name in kept else base.subtree(index)
        for name, index in former.items()
    }
    put = grow(old.unit, children, **old.values)
    return Part(path, f"{node.name} in place of {old.name}: put back", tree.replace(at, put))


def _values(tree: GABTree, at: int, base: GABTree, other: int, path: str) -> Iterator[Part]:
    """Yield the hyper-parameters of one unit that differ."""
    for name, value in tree[at].values.items():
        if (former := base[other].values[name]) != value:
            change = f"{name} of {tree[at].name} {value}: {former} again"
            yield Part(path, change, tree.with_hyperparameters(at, {name: former}))


def _below(
    tree: GABTree, at: int, base: GABTree, other: int, path: str, kept: dict[str, str]
) -> Iterator[Part]:
    """Yield what differs below the children that correspond: `kept` is the other's slot -> ours."""
    own, former = tree.children(at), base.children(other)
    for theirs, ours in kept.items():
        yield from _differences(tree, own[ours], base, former[theirs], f"{path}.{ours}")


def _inner(tree: GABTree, at: int, other: GABTree) -> str | None:
    """Return the slot of a unit whose child corresponds to `other`, where it was put around it.

    It was where a child of its own interface has the other's unit; a pattern of layers was where
    the other is none, around the block that is most like it.
    """
    inner = {slot: tree.subtree(index) for slot, index in heirs(tree, at).items()}
    if not inner:
        return None
    likest = max(inner, key=lambda slot: _likeness(inner[slot], other))
    same = inner[likest][0].unit.digest == other[0].unit.digest
    layers = is_pattern(tree[at].unit) and not is_pattern(other[0].unit)
    return likest if same or layers else None


def _likeness(tree: GABTree, other: GABTree) -> tuple[bool, int]:
    """Return whether two trees have one root unit, and how many units they share."""
    ours, theirs = (Counter(node.unit.digest for node in each) for each in (tree, other))
    return tree[0].unit.digest == other[0].unit.digest, (ours & theirs).total()


def _fault(tree: GABTree) -> str:
    try:
        tree.validate()
    except TreeError as error:
        return error.message
    return pattern_fault(tree)
