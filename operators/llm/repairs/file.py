"""Repairs of the file: its imports and other top-level statements."""

from __future__ import annotations

import ast

from genesys_engine.gab.filerules import ALLOWED_MODULES
from genesys_engine.gab.syntax import docstring_statement, imports, parse
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
    """Drop calls, tests and prints at the top level: a unit's file only defines.

    An assignment is an example where it names a class of the file, or what another example made.
    """
    made = {node.name for node in draft.module.body if isinstance(node, ast.ClassDef)}
    kept: list[ast.stmt] = []
    docstring = docstring_statement(draft.module)
    for node in draft.module.body:
        match node:
            case ast.Import() | ast.ImportFrom() | ast.FunctionDef() | ast.ClassDef():
                kept.append(node)
            case ast.Assign(targets=[ast.Name()]) | ast.AnnAssign() if not made & names_in(node):
                kept.append(node)
            case _ if node is docstring:
                kept.append(node)
            case _:
                bound = {n for n in ast.walk(node) if isinstance(n, ast.Name)}
                made |= {n.id for n in bound if isinstance(n.ctx, ast.Store)}
                draft.note("example code removed")
    draft.module.body = kept


def fix_imports(draft: Draft) -> None:
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


def keep_helpers(draft: Draft) -> None:
    """Restore definitions of the working file that are used and missing."""
    old = parse(draft.original.source)
    while missing := draft.undefined(*draft.module.body):
        found = [node for node in old.body if _defines(node) in missing]
        if not found:
            return
        at = draft.module.body.index(draft.unit)
        draft.module.body[at:at] = found
        for node in found:
            draft.note(f"kept from the working file: {_defines(node)}")


def _defines(node: ast.stmt) -> str:
    """Return the name of a helper or constant, or ""."""
    match node:
        case ast.FunctionDef(name=name):
            return name
        case ast.ClassDef(name=name) if attribute(node, "interface") is None:
            return name
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name
    return ""


def add_imports(draft: Draft) -> None:
    """Add missing imports of the working file and of common PyTorch code."""
    missing = draft.undefined(*draft.module.body)
    known: dict[str, str] = {}
    for node in parse(draft.original.source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            known |= {item.bound: item.statement(item.bound) for item in imports(node)}
    known = {**known, **{n: text for n, text in _IMPORTS.items() if n not in known}}
    at = 1 if docstring_statement(draft.module) else 0
    while at < len(draft.module.body):  # `from __future__` comes first
        node = draft.module.body[at]
        if not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            break
        at += 1
    found = [name for name in known if name in missing]
    draft.module.body[at:at] = [statement(known[name]) for name in found]
    for name in found:
        draft.note(f"import added: {name}")


FILE = (drop_examples, fix_imports, drop_other_units)
