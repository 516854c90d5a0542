"""Faithfulness: every unit that a proposal names really differs from the parent's.

Its syntax tree differs, and so does its function: putting back only that unit of the parent changes
what the block computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from genesys_engine.gab.errors import TreeError
from genesys_engine.gab.tree import GABTree
from genesys_engine.operators.llm.placing import find, place_unit

Report = Mapping[str, Any]
Check = Callable[[GABTree], Report]


class Checks:
    """Checks every tree once: equal trees have equal reports."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._known: dict[str, Report] = {}

    def __call__(self, tree: GABTree) -> Report:
        """Return the report of a tree."""
        digest = tree.digest
        if digest not in self._known:
            self._known[digest] = self._check(tree)
        return self._known[digest]


@dataclass(frozen=True)
class Unfaithful:
    """A unit named in the proposal that did not really change; `code` is stable."""

    path: str
    code: str
    message: str


def unfaithful(
    tree: GABTree, parent: GABTree, paths: Iterable[str], check: Check
) -> tuple[Unfaithful, ...]:
    """Return the unfaithful units of `tree`, which has passed its check.

    `paths` are those named in the proposal, in the tree of `parent`.  Each path needs one check of
    the block without its change: pass a `Checks`, so that no tree is checked twice.
    """
    found = []
    for path in paths:
        fault = unwritten(tree, parent, path) or _idle(tree, parent, path, check)
        if fault is not None:
            found.append(fault)
    return tuple(found)


def unwritten(tree: GABTree, parent: GABTree, path: str) -> Unfaithful | None:
    """Return a fault if a place is gone or the source of its unit is unchanged."""
    old, new = find(parent, path), find(tree, path)
    if old is None or new is None:
        return Unfaithful(path, "faithful.missing", f"There is no unit at {path} any more.")
    if old.node.unit.digest == new.node.unit.digest:
        return Unfaithful(path, "faithful.syntax", "The unit is the same as before.")
    return None


def _idle(tree: GABTree, parent: GABTree, path: str, check: Check) -> Unfaithful | None:
    """Return a fault if the block computes the same with the parent's unit put back."""
    other = reverted(tree, parent, path)
    if other is None:
        return None
    before, after = function_of(check(other)), function_of(check(tree))
    if before is None or before != after:
        return None
    message = "The unit is written otherwise, and the block computes the same as before."
    return Unfaithful(path, "faithful.function", message)


def reverted(tree: GABTree, parent: GABTree, path: str) -> GABTree | None:
    """Return `tree` with the parent's unit at `path`; None if it no longer fits there."""
    old = find(parent, path)
    if old is None:
        return None
    try:
        other = place_unit(tree, path, old.node.unit, like=parent)
        place = find(other, path)
        assert place is not None, "it was just put there"
        other = other.with_hyperparameters(place.index, old.node.values)
        other.validate()
    except TreeError:
        return None
    return other


def function_of(report: Report) -> str | None:
    """Return the fingerprint of the block's function; None if its check failed."""
    if not report["passed"]:
        return None
    fingerprint = report["measurements"].get("fingerprint")
    return None if fingerprint is None else str(fingerprint)
