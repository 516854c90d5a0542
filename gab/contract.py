"""The unit contract: the required form of a unit's source, checked on its syntax tree.

Each rule raises `Breach` with a stable code, the line and how to fix it.  The rules, in the
order in which they are checked:

- the file holds imports, constants, functions and classes, and exactly one class that names an
  `interface`: the unit, a subclass of `torch.nn.Module` with a docstring;
- `interface`, `inputs`, `outputs`, `slots` and `choices` are literals;
- the constructor is `(self, d_model, block_loc, *, <slots>, <hyper-parameters with defaults>,
  device=None, dtype=None)`;
- `forward` is `(self, X, **Z)`, and the Z values used are the ones declared;
- every name is defined, every slot and hyper-parameter is used.
"""

from __future__ import annotations

import ast
import keyword
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from genesys_engine.gab.filerules import Breach, check_file, check_names
from genesys_engine.gab.syntax import walk
from genesys_engine.gab.zvalues import z_use

Value = bool | int | float | str

_TAKEN = frozenset({"self", "X", "Z", "d_model", "block_loc", "device", "dtype", "embed_dim"})
_TAKEN |= {"training", "forward", "unit", "children"}


@dataclass(frozen=True)
class Contract:
    """The declarations of a unit's source; slots are (name, interface, requirement)."""

    node: ast.ClassDef
    interface: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    slots: tuple[tuple[str, str, str], ...]
    hyperparameters: tuple[tuple[str, Value, tuple[Value, ...]], ...]


def read_contract(module: ast.Module) -> Contract:
    """Check every rule and return the unit's declarations.

    Raises:
        Breach: the first rule that is broken.
    """
    bound = check_file(module)
    unit = _unit_class(module)
    _check_class(unit, bound)
    interface = _interface(unit)
    inputs, outputs = _z_names(unit, "inputs"), _z_names(unit, "outputs")
    slots = _slots(unit)
    hyperparameters = _constructor(unit, [name for name, _, _ in slots])
    choices = _choices(unit, hyperparameters)
    _check_forward(unit)
    _check_z(unit, inputs, outputs)
    check_names(module)
    _check_used(unit, [name for name, _, _ in slots], list(hyperparameters))
    described = tuple((n, v, choices.get(n, ())) for n, v in hyperparameters.items())
    return Contract(unit, interface, inputs, outputs, slots, described)


# --- the class -------------------------------------------------------------------------------


def _unit_class(module: ast.Module) -> ast.ClassDef:
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    units = [node for node in classes if _attribute(node, "interface") is not None]
    if not units:
        line = classes[-1].lineno if classes else 1
        hint = 'write `interface = "sequence_mixer"` (or another) in the unit\'s class'
        raise Breach("no_unit", "no class names an `interface`", line, hint)
    if len(units) > 1:
        names = ", ".join(node.name for node in units)
        hint = "one unit per file: helper classes have no `interface`"
        raise Breach(
            "many_units", f"several classes name an `interface`: {names}", units[1].lineno, hint
        )
    return units[0]


def _check_class(unit: ast.ClassDef, bound: Mapping[str, str]) -> None:
    bases = [_resolved(base, bound) for base in unit.bases]
    if bases != ["torch.nn.Module"] or unit.keywords or unit.decorator_list:
        message = f"{unit.name} is not a plain subclass of torch.nn.Module"
        hint = f"write `class {unit.name}(nn.Module):` with `from torch import nn`, undecorated"
        raise Breach("base", message, unit.lineno, hint)
    if not (ast.get_docstring(unit) or "").strip():
        hint = "say in the class's docstring what it computes, with shapes and source"
        raise Breach("docstring", f"{unit.name} has no docstring", unit.lineno, hint)


def _resolved(base: ast.expr, bound: Mapping[str, str]) -> str:
    """Return the dotted name of a base class, its first part looked up in the imports."""
    first, dot, rest = ast.unparse(base).partition(".")
    return bound.get(first, first) + dot + rest


def _attribute(unit: ast.ClassDef, name: str) -> ast.expr | None:
    for node in unit.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                return value
            case ast.AnnAssign(target=ast.Name(id=found), value=value) if found == name:
                return value
    return None


def _literal(node: ast.expr, what: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        hint = "write it as a literal: it is read without running the source"
        raise Breach("literal", f"{what} is not a literal", node.lineno, hint) from None


def _interface(unit: ast.ClassDef) -> str:
    node = _attribute(unit, "interface")
    assert node is not None, "the unit is found by its interface"
    value = _literal(node, "`interface`")
    if not _is_identifier(value):
        hint = 'name it like "sequence_mixer"'
        raise Breach("interface", f"`interface` is not an identifier: {value!r}", node.lineno, hint)
    return str(value)


def _is_identifier(value: object) -> bool:
    return isinstance(value, str) and value.isidentifier() and not keyword.iskeyword(value)


def _z_names(unit: ast.ClassDef, attribute: str) -> tuple[str, ...]:
    node = _attribute(unit, attribute)
    if node is None:
        return ()
    names = _literal(node, f"`{attribute}`")
    good = isinstance(names, tuple | list) and all(_is_identifier(name) for name in names)
    if not good or len(set(names)) != len(names) or {"self", "X"} & set(names):
        hint = f'write it as a tuple of distinct names: `{attribute} = ("memory",)`'
        raise Breach(attribute, f"`{attribute}` is not a tuple of names", node.lineno, hint)
    return tuple(names)


def _slots(unit: ast.ClassDef) -> tuple[tuple[str, str, str], ...]:
    node = _attribute(unit, "slots")
    if node is None:
        return ()
    slots = _literal(node, "`slots`")
    hint = 'write `slots = {"norm": ("norm", "one sentence that says what is needed")}`'
    if not isinstance(slots, dict):
        raise Breach("slots", "`slots` is not a dict", node.lineno, hint)
    for name, entry in slots.items():
        if not _is_identifier(name) or name in _TAKEN:
            raise Breach("slots", f"{name!r} cannot name a slot", node.lineno, hint)
        pair = isinstance(entry, tuple | list) and len(entry) == 2 and _is_identifier(entry[0])
        if not pair or not isinstance(entry[1], str) or not entry[1].strip():
            message = f"slot {name!r} is not described by (interface, requirement)"
            raise Breach("slots", message, node.lineno, hint)
    return tuple((name, entry[0], entry[1]) for name, entry in slots.items())


# --- the constructor -------------------------------------------------------------------------


def _method(unit: ast.ClassDef, name: str, signature: str) -> ast.FunctionDef:
    for node in unit.body:
        if isinstance(node, ast.FunctionDef) and node.name == name and not node.decorator_list:
            return node
    code = "constructor" if name == "__init__" else name
    hint = f"write `def {name}{signature}:`"
    raise Breach(code, f"{unit.name} has no method `{name}`", unit.lineno, hint)


def _constructor(unit: ast.ClassDef, slots: Iterable[str]) -> dict[str, Value]:
    """Check the constructor's parameters; return the hyper-parameters with their defaults."""
    signature = "(self, d_model, block_loc, *, {}device=None, dtype=None)".format(
        "".join(f"{slot}, " for slot in slots)
    )
    node = _method(unit, "__init__", signature)
    hint = f"write `def __init__{signature}:`; hyper-parameters have literal defaults"
    arguments = node.args
    positional = [a.arg for a in [*arguments.posonlyargs, *arguments.args]]
    plain = not (arguments.vararg or arguments.kwarg or arguments.defaults or arguments.posonlyargs)
    if positional != ["self", "d_model", "block_loc"] or not plain:
        message = "the constructor does not begin with (self, d_model, block_loc, *, ...)"
        raise Breach("constructor", message, node.lineno, hint)
    defaults = dict(zip((a.arg for a in arguments.kwonlyargs), arguments.kw_defaults, strict=True))
    for name in ("device", "dtype"):
        default = defaults.pop(name, None)
        if not (isinstance(default, ast.Constant) and default.value is None):
            raise Breach("constructor", f"`{name}=None` is missing", node.lineno, hint)
    for name in slots:
        if name not in defaults:
            message = f"slot {name!r} has no constructor parameter"
            raise Breach("slot_parameter", message, node.lineno, hint)
        if defaults.pop(name) is not None:
            message = f"the parameter of slot {name!r} has a default"
            raise Breach("slot_parameter", message, node.lineno, hint)
    return {name: _default(node, name, default) for name, default in defaults.items()}


def _default(node: ast.FunctionDef, name: str, default: ast.expr | None) -> Value:
    if default is None:
        message = f"parameter {name!r} is neither a slot nor has it a default"
        hint = f"declare it in `slots`, or give it a literal default: `{name}=...`"
        raise Breach("hyperparameter", message, node.lineno, hint)
    if name in _TAKEN:
        hint = "use another name"
        raise Breach("hyperparameter", f"{name!r} is a reserved name", default.lineno, hint)
    value = _literal(default, f"the default of {name!r}")
    if not is_value(value):
        hint = "use a bool, a finite number or a string"
        message = f"the default of {name!r} is not a plain value: {value!r}"
        raise Breach("hyperparameter", message, default.lineno, hint)
    return value  # type: ignore[no-any-return]


def is_value(value: object) -> bool:
    """Tell whether a hyper-parameter may have this value: bool, int, finite float or str."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, bool | int | str)


def _choices(unit: ast.ClassDef, defaults: Mapping[str, Value]) -> dict[str, tuple[Value, ...]]:
    node = _attribute(unit, "choices")
    if node is None:
        return {}
    choices = _literal(node, "`choices`")
    hint = 'write `choices = {"head_dim": (16, 32, 64)}`, of the type of the default'
    if not isinstance(choices, dict):
        raise Breach("choices", "`choices` is not a dict", node.lineno, hint)
    for name, values in choices.items():
        if name not in defaults:
            message = f"`choices` names {name!r}, which is no hyper-parameter"
            raise Breach("choices", message, node.lineno, hint)
        kind = type(defaults[name])
        listed = isinstance(values, tuple | list) and len(values) > 0
        if not listed or not all(type(v) is kind and is_value(v) for v in values):
            message = f"the choices of {name!r} are not a tuple of {kind.__name__} values"
            raise Breach("choices", message, node.lineno, hint)
        if len(set(values)) != len(values):
            raise Breach("choices", f"the choices of {name!r} repeat", node.lineno, hint)
    return {name: tuple(values) for name, values in choices.items()}


# --- forward and what is used ----------------------------------------------------------------


def _check_forward(unit: ast.ClassDef) -> None:
    node = _method(unit, "forward", "(self, X, **Z)")
    arguments = node.args
    names = [a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]]
    extra = arguments.kwarg.arg if arguments.kwarg else None
    if names != ["self", "X"] or extra != "Z" or arguments.vararg or arguments.defaults:
        message = f"forward has the parameters ({ast.unparse(arguments)})"
        hint = "write `def forward(self, X, **Z):` and return `X, Z`"
        raise Breach("forward", message, node.lineno, hint)


def _check_z(unit: ast.ClassDef, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    use = z_use(unit)
    if use.opaque:
        hint = 'read Z["name"] or Z.get("name"), write {**Z, "name": value}, pass Z on as **Z'
        message = "Z is used in a way that hides the names of its values"
        raise Breach("z_opaque", message, min(use.opaque), hint)
    both = (("input", "inputs", inputs, use.reads), ("output", "outputs", outputs, use.writes))
    for code, attribute, declared, used in both:
        for name in sorted(set(used) - set(declared)):
            verb = "reads" if code == "input" else "writes"
            message = f"{unit.name} {verb} the value {name!r} of Z without declaring it"
            hint = f"add {name!r} to `{attribute}`"
            raise Breach(f"{code}_undeclared", message, used[name], hint)
        for name in declared:
            if name not in used:
                node = _attribute(unit, attribute)
                line = node.lineno if node else unit.lineno
                message = f"`{attribute}` declares {name!r}, which {unit.name} never uses"
                hint = f"remove {name!r} from `{attribute}`, or use it"
                raise Breach(f"{code}_unused", message, line, hint)


def _check_used(unit: ast.ClassDef, slots: Iterable[str], hyperparameters: Iterable[str]) -> None:
    init = _method(unit, "__init__", "")
    named = {n.id for n in walk(init) if isinstance(n, ast.Name) and n.id != "self"}
    methods = [n for n in unit.body if isinstance(n, ast.FunctionDef) and n is not init]
    called = {
        node.attr
        for method in methods
        for node in walk(method)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
        if isinstance(node.value, ast.Name) and node.value.id == "self"
    }
    for slot in slots:
        if slot not in named or slot not in called:
            hint = f"build it in the constructor (`self.{slot} = {slot}(d_model)`) and call "
            hint += f"`X, Z = self.{slot}(X, **Z)` in forward"
            raise Breach("slot_unused", f"slot {slot!r} is never used", unit.lineno, hint)
    for name in hyperparameters:
        if name not in named:
            hint = "use it or remove it: changing it would change nothing"
            message = f"hyper-parameter {name!r} is never used"
            raise Breach("hyperparameter_unused", message, init.lineno, hint)
