"""Mechanical repairs: faults of a reply fixed in its syntax tree.

Each repair is recorded in a few words.  No repair considers what the unit should compute: it makes
a source fit the unit contract, or corrects a PyTorch name, and leaves everything else alone.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from genesys_engine.gab.syntax import UNREADABLE, parse
from genesys_engine.gab.unit import Unit
from genesys_engine.operators.llm.repairs.constructor import CONSTRUCTOR
from genesys_engine.operators.llm.repairs.convolutions import CONVOLUTIONS
from genesys_engine.operators.llm.repairs.declarations import DECLARATIONS, keep_declarations
from genesys_engine.operators.llm.repairs.draft import Draft
from genesys_engine.operators.llm.repairs.file import FILE, add_imports, keep_helpers
from genesys_engine.operators.llm.repairs.forward import FORWARD
from genesys_engine.operators.llm.repairs.names import NAMES
from genesys_engine.operators.llm.repairs.torchwords import TORCHWORDS

_STEPS = (
    *FILE,
    keep_declarations,
    *CONSTRUCTOR,
    *FORWARD,
    *NAMES,
    *CONVOLUTIONS,
    *TORCHWORDS,
    *DECLARATIONS,
    keep_helpers,
    add_imports,
)


@dataclass(frozen=True)
class Repaired:
    """A source after all repairs, with their names; unchanged if there were none."""

    source: str
    repairs: tuple[str, ...]


def repair(source: str, original: Unit) -> Repaired:
    """Return `source`, meant to take the place of `original`, with mechanical faults fixed.

    A source that is not valid Python, or defines no class, comes back as it is.
    """
    try:
        module = parse(source)
    except UNREADABLE:
        return Repaired(source, ())
    draft = Draft.of(module, original)
    if draft is None:
        return Repaired(source, ())
    try:
        for step in _STEPS:
            step(draft)
            ast.fix_missing_locations(draft.module)  # later steps look at places
        repaired = ast.unparse(draft.module) + "\n"
    except UNREADABLE:
        return Repaired(source, ())  # beyond what a unit may be: the contract will tell
    return Repaired(repaired, draft.summaries()) if draft.repairs else Repaired(source, ())
