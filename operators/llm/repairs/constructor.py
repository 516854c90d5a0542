"""Repairs of the constructor: its parameters, the call of super, devices and dtypes of layers."""

from __future__ import annotations

import ast

from genesys_engine.gab.syntax import parse_expression
from genesys_engine.operators.llm.repairs.draft import (
    Draft,
    insert_first,
    is_super_init,
    method,
    names_in,
    rename,
    replace_nodes,
    self_attributes,
    statement,
    words,
)

_LAYERS = words(
    "Linear Bilinear Embedding LayerNorm RMSNorm GroupNorm Conv1d Conv2d ConvTranspose1d PReLU "
    "MultiheadAttention GRU LSTM RNN"
)
_FLOATS = words("zeros ones empty randn rand full linspace eye")
_WIDTHS = ("embed_dim", "dim", "d", "D", "C", "n_embd", "hidden_size", "model_dim", "d_in")


def call_super(draft: Draft) -> None:
    """Make every module's constructor start with the call of super."""
    classes = [node for node in draft.module.body if isinstance(node, ast.ClassDef)]
    for node in classes:
        init = method(node, "__init__")
        if init is None or not any("Module" in ast.unparse(base) for base in node.bases):
            continue
        calls = [part for part in init.body if is_super_init(part)]
        first = next((part for part in init.body if not _is_text(part)), None)
        if calls and calls[0] is first:
            continue
        for part in calls:
            init.body.remove(part)
        insert_first(init, statement("super().__init__()"), after_super=False)
        draft.note("super().__init__() added" if not calls else "super().__init__() moved up")


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def fix_parameters(draft: Draft) -> None:
    """Bring the parameters into the form (self, d_model, block_loc, *, ..., device, dtype)."""
    init = draft.init
    if init is None:
        return
    before = ast.unparse(init.args)
    given = _parameters(init.args)
    given.pop("self", None)
    if "d_model" not in given:
        width = next((name for name in _WIDTHS if name in given), None)
        if width is not None:
            given.pop(width)
            rename(init, width, "d_model")
            draft.note(f"width named d_model: {width}")
    for name in ("d_model", "block_loc", "device", "dtype"):
        given.pop(name, None)
    slots = {slot.name for slot in draft.original.slots} | set(draft.slots())
    defaults = {each.name: each.default for each in draft.original.hyperparameters}
    plain = [ast.arg(name) for name in ("self", "d_model", "block_loc")]
    arguments = ast.arguments([], plain, None, [], [], None, [])
    for name, default in given.items():
        if name in slots:
            default = None
        elif default is None and name in defaults:
            default = ast.Constant(defaults[name])
        arguments.kwonlyargs.append(ast.arg(name))
        arguments.kw_defaults.append(default)
    for name in ("device", "dtype"):
        arguments.kwonlyargs.append(ast.arg(name))
        arguments.kw_defaults.append(ast.Constant(None))
    order = sorted(range(len(given)), key=lambda i: list(given)[i] not in slots)
    order += [len(given), len(given) + 1]
    arguments.kwonlyargs = [arguments.kwonlyargs[i] for i in order]
    arguments.kw_defaults = [arguments.kw_defaults[i] for i in order]
    if _shape(init.args) != _shape(arguments):
        init.args = arguments
        draft.note(f"constructor's parameters mended: ({before[:80]})")


def _parameters(arguments: ast.arguments) -> dict[str, ast.expr | None]:
    """Return every parameter but *args and **kwargs with its default."""
    plain = [*arguments.posonlyargs, *arguments.args]
    lacking = len(plain) - len(arguments.defaults)
    found: dict[str, ast.expr | None] = {
        each.arg: arguments.defaults[i - lacking] if i >= lacking else None
        for i, each in enumerate(plain)
    }
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return found | {each.arg: default for each, default in pairs}


def _shape(arguments: ast.arguments) -> tuple[object, ...]:
    """Return what the contract checks: names by kind, and defaults; keywords may have any order."""
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    described = {each.arg: default and ast.unparse(default) for each, default in keywords}
    plain = [each.arg for each in [*arguments.posonlyargs, *arguments.args]]
    extra = [each.arg for each in (arguments.vararg, arguments.kwarg) if each]
    return plain, extra, len(arguments.defaults), described


def add_constructor_slots(draft: Draft) -> None:
    """Rename children to their slots, and add slots that forward uses."""
    init = draft.init
    if init is None:
        return
    known = [each.arg for each in init.args.kwonlyargs]
    for slot in draft.slots():
        stored = _attribute_of_child(init, slot)
        if stored and stored != slot:
            for node in ast.walk(draft.unit):
                if isinstance(node, ast.Attribute) and node.attr == stored:
                    node.attr = slot
            draft.note(f"child called by its slot: {slot}")
        elif slot not in known and slot in self_attributes(draft.methods(), ast.Load):
            init.args.kwonlyargs.insert(0, ast.arg(slot))
            init.args.kw_defaults.insert(0, None)
            if slot not in self_attributes([init], ast.Store):
                init.body.append(statement(f"self.{slot} = {slot}(d_model)"))
            draft.note(f"parameter of a slot added: {slot}")


def _attribute_of_child(init: ast.FunctionDef, slot: str) -> str | None:
    """Return the attribute that `self.attribute = slot(...)` sets."""
    for node in ast.walk(init):
        match node:
            case ast.Assign(
                targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)],
                value=ast.Call(func=ast.Name(id=called)),
            ) if called == slot:
                return name
    return None


def drop_unused_parameters(draft: Draft) -> None:
    """Drop hyper-parameters that neither the constructor nor another method names."""
    init = draft.init
    if init is None:
        return
    used = names_in(init)
    used |= {name for node in draft.methods() for name in names_in(node)}
    used |= self_attributes(draft.methods(), ast.Load)
    used |= {"device", "dtype", *draft.slots()}
    kept = [
        (each, default)
        for each, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
        if each.arg in used
    ]
    if len(kept) < len(init.args.kwonlyargs):
        init.args.kwonlyargs = [each for each, _ in kept]
        init.args.kw_defaults = [default for _, default in kept]
        draft.note("unused hyper-parameter removed")


def hand_on_dtype(draft: Draft) -> None:
    """Pass device and dtype to every layer and tensor that the constructor creates."""
    init = draft.init
    if init is None:
        return

    def change(node: ast.AST) -> ast.AST | None:
        if not isinstance(node, ast.Call):
            return None
        owner, _, name = ast.unparse(node.func).rpartition(".")
        layer = owner in ("nn", "torch.nn") and name in _LAYERS
        tensor = owner == "torch" and name in _FLOATS
        given = {keyword.arg for keyword in node.keywords}
        missing = {"device", "dtype"} - given
        if not (layer or tensor) or None in given or not missing:
            return None
        node.keywords += [
            ast.keyword(each, parse_expression(each))
            for each in ("device", "dtype")
            if each in missing
        ]
        return node

    if replace_nodes(init, change):
        draft.note("device and dtype handed on")


CONSTRUCTOR = (call_super, fix_parameters, add_constructor_slots, hand_on_dtype)
