"""Scratch: a new design without parents."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from genesys_engine.gab import library
from genesys_engine.gab.interfaces import ROOT_INTERFACE
from genesys_engine.gab.tree import GABTree
from genesys_engine.operators.growth import Grower, GrowthOptions
from genesys_engine.operators.variation import attempt, sentence
from genesys_engine.plugins.api import Child, OperatorContext, Parent


class SeedDesignOptions(GrowthOptions):
    """Options of `SeedDesign`."""

    inherit_share: float = Field(
        default=0.5, ge=0.0, le=1.0, description="share of the root's slots filled from seeds"
    )


class SeedDesign:
    """Builds a design afresh: a root block over parts of the seeds and newly grown subtrees."""

    arity: tuple[int, int] = (0, 0)

    def __init__(self, options: SeedDesignOptions) -> None:
        self.options = options

    def __call__(self, parents: Sequence[Parent], context: OperatorContext) -> Child:
        """Return a new design that equals no seed."""
        names = context.seeds or library.seed_names()
        seeds = [Parent(-1, library.seed(name), None, "") for name in names]
        parts = _parts([seed.tree for seed in seeds])
        grower = Grower(self.options, context.rng)
        return attempt(seeds, self.options, lambda: self._draw(parts, grower))

    def _draw(self, parts: dict[str, list[GABTree]], grower: Grower) -> Child:
        rng = grower.rng
        root = grower.unit(ROOT_INTERFACE, leaf=False)
        children: dict[str, GABTree] = {}
        for slot in root.slots:
            known = parts.get(slot.interface, [])
            if known and rng.random() < self.options.inherit_share:
                children[slot.name] = rng.choice(known)
        tree = grower.around(root, children, self.options.max_depth)
        first = [tree[at].name for at in tree.children(0).values() if tree[at].ret != "norm"]
        change = sentence(f"Started afresh: {root.name} with {', '.join(first)}")
        return Child(tree, change, {"root": root.name, "inherited": list(children)})


def _parts(seeds: Sequence[GABTree]) -> dict[str, list[GABTree]]:
    """Return the seeds' subtrees right below the root, by interface, each once."""
    parts: dict[str, dict[str, GABTree]] = {}
    for seed in seeds:
        for index in seed.children(0).values():
            part = seed.subtree(index)
            parts.setdefault(part[0].ret, {})[part.digest] = part
    return {interface: list(found.values()) for interface, found in parts.items()}
