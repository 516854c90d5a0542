"""Repairs of the file: its imports, and what stands at its top level beside definitions."""

from __future__ import annotations

import ast

from genesys_engine.gab.filerules import ALLOWED_MODULES
from genesys_engine.gab.syntax import docstring_statement, imports
from genesys_engine.operators.llm.repairs.draft import Draft, attribute, names_in, statement

_IMPORTS = {
    "torch": "import torch",
    "nn": "from torch import nn",
    "F": "import torch.nn.functional as F",
    "math": "import math",
    "functools": "import functools",
    "partial": "from functools import partial",
    "Tensor": "from torch import Tensor",
    **{
        name: f"from typing import {name}" for name in ("Any", "Optional", "Tuple", "Union", "List")
    },
}


def drop_examples(draft: Draft) -> None:
    """Drop calls, tests and prints at the top level: a unit's file only defines."""
    kept: list[ast.stmt] = []
    docstring = docstring_statement(draft.module)
    for node in draft.module.body:
        defines = isinstance(
            node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.AnnAssign
        )
        calls = any(isinstance(part, ast.Call) for part in ast.walk(node))
        if defines or node is docstring or (isinstance(node, ast.Assign) and not calls):
            kept.append(node)
        else:
            draft.note("example code removed")
    draft.module.body = kept


def mend_imports(draft: Draft) -> None:
    """Drop imports that are not allowed, and those of a name that is bound already."""
    seen: set[str] = set()
    for node in list(draft.module.body):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        kept = []
        for alias, item in zip(node.names, imports(node), strict=True):
            modules = (item.target, item.module)
            allowed = any(m == a or m.startswith(a + ".") for m in modules for a in ALLOWED_MODULES)
            if not allowed or item.bound == "*":
                draft.note(f"import removed: {item.target}")
            elif item.bound in seen:
                draft.note(f"import repeated: {item.bound}")
            else:
                kept.append(alias)
                seen.add(item.bound)
        node.names = kept
        if not kept:
            draft.module.body.remove(node)


def drop_other_units(draft: Draft) -> None:
    """Drop further units, which a file must not hold, where the unit does not name them."""
    used = names_in(draft.unit)
    for node in list(draft.module.body):
        if not isinstance(node, ast.ClassDef) or node is draft.unit or node.name in used:
            continue
        if attribute(node, "interface") is not None:
            draft.module.body.remove(node)
            draft.note("other units removed")


def add_imports(draft: Draft) -> None:
    """Import what every PyTorch file imports, where it is used and missing."""
    missing = {name for node in draft.module.body for name in draft.undefined(node)}
    at = 1 if docstring_statement(draft.module) else 0
    while at < len(draft.module.body):  # `from __future__` comes first
        node = draft.module.body[at]
        if not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            break
        at += 1
    for name in sorted(missing & set(_IMPORTS)):
        draft.module.body.insert(at, statement(_IMPORTS[name]))
        draft.note(f"import added: {name}")


FILE = (drop_examples, mend_imports, drop_other_units)
