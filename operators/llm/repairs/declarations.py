"""Repairs of the class's declarations: interface, slots, choices, Z, docstring, base class."""

from __future__ import annotations

import ast
from typing import Any

from genesys_engine.gab.contract import is_value
from genesys_engine.gab.interfaces import INTERFACES
from genesys_engine.gab.syntax import parse, parse_expression
from genesys_engine.gab.zvalues import z_use
from genesys_engine.operators.llm.repairs.draft import (
    Draft,
    attribute,
    method,
    self_attributes,
    set_attribute,
)

_DECLARED = ("interface", "inputs", "outputs", "slots", "choices")
_METHODS = ("__init__", "forward")


def keep_declarations(draft: Draft) -> None:
    """Restore declarations that a reply omits, and an omitted constructor or forward."""
    module = parse(draft.original.source)
    old = next(n for n in module.body if isinstance(n, ast.ClassDef) and attribute(n, "interface"))
    before = len(draft.repairs)
    for name in _DECLARED:
        value = attribute(old, name)
        if value is not None and attribute(draft.unit, name) is None:
            set_attribute(draft.unit, name, value)
            draft.note(f"kept from the working unit: {name}")
    for name in _METHODS:
        kept = method(old, name)
        if kept is not None and method(draft.unit, name) is None:
            draft.unit.body.append(kept)
            draft.note(f"kept from the working unit: {name}")
    if len(draft.repairs) > before:  # so that a unit that comes back unchanged is known as such
        draft.unit.body.sort(key=_order)


def _order(node: ast.stmt) -> int:
    """Return where a statement stands in a unit's class: declarations, then methods."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return _DECLARED.index(name) + 1 if name in _DECLARED else len(_DECLARED) + 1
        case ast.FunctionDef(name=name):
            return 100 + (_METHODS.index(name) if name in _METHODS else len(_METHODS))
    return 0


def fix_slots(draft: Draft) -> None:
    """Declare the slots of the constructor; drop unused ones."""
    init = draft.init
    if init is None:
        return
    declared = _read(draft, "slots", {})
    odd = not isinstance(declared, dict)
    declared = {} if odd else declared
    known = {slot.name: (slot.interface, slot.requirement) for slot in draft.original.slots}
    bare = [
        each.arg
        for each, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
        if default is None
    ]
    used = self_attributes(draft.methods(), ast.Load)
    slots = {name: entry for name, entry in declared.items() if name in bare and name in used}
    slots |= {name: known[name] for name in bare if name in known and name in used}
    dropped = [name for name in bare if name in declared and name not in slots]
    for name in dropped:
        at = [each.arg for each in init.args.kwonlyargs].index(name)
        del init.args.kwonlyargs[at], init.args.kw_defaults[at]
        init.body = [node for node in init.body if not _builds(node, name)]
    if odd or slots != declared:
        set_attribute(draft.unit, "slots", parse_expression(repr(slots)))
        draft.note("slots declared as they are used")


def _builds(node: ast.stmt, slot: str) -> bool:
    match node:
        case ast.Assign(value=ast.Call(func=ast.Name(id=name))):
            return name == slot
    return False


def fix_interface(draft: Draft) -> None:
    """Declare the interface of the place."""
    wanted = draft.original.interface
    if _read(draft, "interface", None) != wanted:
        set_attribute(draft.unit, "interface", ast.Constant(wanted))
        draft.note("interface declared")


def fix_choices(draft: Draft) -> None:
    """Keep the choices that match existing hyper-parameters."""
    init, declared = draft.init, _read(draft, "choices", {})
    if init is None or not isinstance(declared, dict):
        return
    defaults: dict[str, Any] = {}
    for each, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True):
        if isinstance(default, ast.Constant) and is_value(default.value):
            defaults[each.arg] = default.value
    choices = {
        name: _fitting(values, defaults[name])
        for name, values in declared.items()
        if name in defaults
    }
    choices = {name: values for name, values in choices.items() if values}
    same = choices == declared and all(
        type(a) is type(b) for n in choices for a, b in zip(choices[n], declared[n], strict=False)
    )
    if not same:
        set_attribute(draft.unit, "choices", parse_expression(repr(choices)))
        draft.note("choices fitted to the hyper-parameters")


def _fitting(values: Any, default: Any) -> tuple[Any, ...]:
    kind = type(default)
    listed = values if isinstance(values, tuple | list) else ()
    if kind is float:
        listed = [float(v) if type(v) is int else v for v in listed]
    return tuple(dict.fromkeys(v for v in listed if type(v) is kind and is_value(v)))


def fix_z_names(draft: Draft) -> None:
    """Declare the values of Z that the code reads and writes, and no others."""
    use = z_use(draft.unit)
    if use.opaque:
        return
    for name, used in (("inputs", use.reads), ("outputs", use.writes)):
        declared = _read(draft, name, ())
        listed = isinstance(declared, tuple | list)
        if not listed or sorted(map(str, declared)) != sorted(used):
            set_attribute(draft.unit, name, parse_expression(repr(tuple(used))))
            draft.note(f"{name} declared as they are used")


def fix_docstring(draft: Draft) -> None:
    """Give a class without a docstring the first line of the one it replaces."""
    if not (ast.get_docstring(draft.unit) or "").strip():
        line = draft.original.doc.partition("\n")[0] or f"A {draft.original.interface}."
        draft.unit.body.insert(0, ast.Expr(ast.Constant(line)))
        draft.note("docstring added")


def fix_base(draft: Draft) -> None:
    """Derive the class from nn.Module, undecorated."""
    bases = [ast.unparse(base) for base in draft.unit.bases]
    if bases in ([], ["Module"]) or draft.unit.decorator_list or draft.unit.keywords:
        draft.unit.bases = [parse_expression("nn.Module")]
        draft.unit.decorator_list, draft.unit.keywords = [], []
        draft.note("derived from nn.Module")


def known_interfaces(draft: Draft) -> None:
    """Keep the interface of a slot that the unit had before, where the new one is unknown."""
    declared = _read(draft, "slots", {})
    known = {slot.name: (slot.interface, slot.requirement) for slot in draft.original.slots}
    if not isinstance(declared, dict):
        return
    repaired = {
        name: known[name] if name in known and str(entry[0]) not in INTERFACES else entry
        for name, entry in declared.items()
        if isinstance(entry, tuple | list) and len(entry) == 2
    }
    if repaired != declared:
        set_attribute(draft.unit, "slots", parse_expression(repr(repaired)))
        draft.note("interfaces of slots restored")


def _read(draft: Draft, name: str, otherwise: Any) -> Any:
    value = attribute(draft.unit, name)
    if value is None:
        return otherwise
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError):
        return None


DECLARATIONS = (
    fix_base,
    fix_interface,
    fix_slots,
    known_interfaces,
    fix_choices,
    fix_z_names,
    fix_docstring,
)
