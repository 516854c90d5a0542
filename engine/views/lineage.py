"""Who descends from whom: the evolution tree, laid out for drawing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from genesys_engine.engine.store.names import design_names, label, seed_name
from genesys_engine.engine.store.run_store import DesignRow, Store


@dataclass(frozen=True)
class Node:
    """One design in the drawing: `x` is its generation, `y` its line, from the top."""

    design: int
    label: str
    x: int
    y: float
    accepted: bool
    fitness: float | None
    rung: int | None
    operator: str
    change: str
    parents: tuple[int, ...]
    disqualified: bool = False


@dataclass(frozen=True)
class Edge:
    """A line from parent to child; `primary` is the parent that the child is drawn under."""

    parent: int
    child: int
    primary: bool


@dataclass(frozen=True)
class Lineage:
    """The evolution tree; `lines` is its height in lines, `generations` its depth, `left_out` the
    number of designs that are not in it."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    lines: int
    generations: int
    left_out: int = 0


def lineage(store: Store, most: int | None = None) -> Lineage:
    """Return the evolution tree of all designs, rejected ones included.

    Args:
        most: no more designs than these: the seeds, and the best with the lines that lead to
            them.
    """
    everything = list(store.designs())
    names = design_names(everything)
    generation = generations(everything)
    designs = everything if most is None else foremost(everything, most)
    line, lines = _lines(designs)
    out = store.disqualified()
    nodes = tuple(
        Node(
            design=row.id,
            label=label(row.id, names),
            x=generation[row.id],
            y=line[row.id],
            accepted=row.accepted,
            fitness=row.fitness,
            rung=row.rung,
            operator=row.operator,
            change=row.change,
            parents=row.parents,
            disqualified=row.id in out,
        )
        for row in designs
    )
    edges = tuple(
        Edge(parent, row.id, primary=position == 0)
        for row in designs
        for position, parent in enumerate(row.parents)
        if parent in line
    )
    depth = max((node.x for node in nodes), default=-1) + 1
    return Lineage(nodes, edges, lines, depth, len(everything) - len(designs))


def foremost(designs: list[DesignRow], most: int) -> list[DesignRow]:
    """Return at most `most` designs: seeds, then the best, each with its line of first parents."""
    if len(designs) <= most:
        return designs
    by_number = {row.id: row for row in designs}
    seeds = [row.id for row in designs if seed_name(row.operator) is not None]
    kept = set(seeds[:most])
    verified = (row for row in designs if row.rung is not None)
    for best in sorted(verified, key=lambda r: (-(r.rung or 0), -(r.fitness or 0.0), r.id)):
        line: list[int] = []
        at = best.id
        while at not in kept and len(kept) + len(line) < most:
            line.append(at)
            if not by_number[at].parents:
                break
            at = by_number[at].parents[0]
        kept.update(line)
        if len(kept) >= most:
            break
    return [row for row in designs if row.id in kept]


def generations(designs: Iterable[DesignRow]) -> dict[int, int]:
    """Return design -> number of steps from the furthest founder; parents come before children."""
    depth: dict[int, int] = {}
    for row in designs:
        depth[row.id] = 1 + max((depth[parent] for parent in row.parents), default=-1)
    return depth


def ancestry(store: Store, design: int) -> list[DesignRow]:
    """Return the line of first parents that leads to `design`, founder first."""
    line = [store.design(design)]
    while line[-1].parents:
        line.append(store.design(line[-1].parents[0]))
    return line[::-1]


def children(store: Store, design: int) -> list[DesignRow]:
    """Return the designs that have `design` among their parents."""
    return [row for row in store.designs() if design in row.parents]


def _lines(designs: list[DesignRow]) -> tuple[dict[int, float], int]:
    """Give every design a line: leaves one each, a parent the middle of its children.

    Children number higher than their parents, so going down the numbers visits every child
    first; no recursion, since a run may be thousands of generations deep.
    """
    under: dict[int, list[int]] = {row.id: [] for row in designs}
    founders: list[int] = []
    for row in designs:
        drawn = row.parents and row.parents[0] in under
        (under[row.parents[0]] if drawn else founders).append(row.id)
    line: dict[int, float] = {}
    for leaf in _depth_first(founders, under):
        if not under[leaf]:
            line[leaf] = float(len(line))
    lines = len(line)
    for row in reversed(designs):
        if below := under[row.id]:
            line[row.id] = (line[below[0]] + line[below[-1]]) / 2
    return line, lines


def _depth_first(founders: list[int], under: Mapping[int, list[int]]) -> Iterable[int]:
    stack = founders[::-1]
    while stack:
        design = stack.pop()
        yield design
        stack.extend(reversed(under[design]))
