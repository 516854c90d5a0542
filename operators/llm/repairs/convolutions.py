"""Repairs of convolutions over time: missing transposes, padding on both sides."""

from __future__ import annotations

import ast

from genesys_engine.gab.syntax import parse_expression
from genesys_engine.operators.llm.repairs.draft import Draft

_TURNED = ("transpose(", "permute(", "swapaxes(", "movedim(", ".mT", "rearrange(", "einsum(")


def turn_to_time(draft: Draft) -> None:
    """Give a Conv1d its channels in the middle and its padding on the left.

    X is (batch, time, channels), a Conv1d takes (batch, channels, time), and units are causal, so
    there is only one way to apply it.  Code that already transposes is left alone.
    """
    layers = _convolutions(draft)
    for function in draft.methods():
        turned = _turned_names(function)
        for node in ast.walk(function):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="self"), attr=name), args=[given]
                ) if name in layers and not _is_turned(given, turned):
                    padded = f"F.pad(({ast.unparse(given)}).transpose(1, 2), ({layers[name]}, 0))"
                    node.args = [parse_expression(padded)]
                    _drop_padding(draft, name)
                    _turn_back(function, node)
                    draft.note(f"convolution turned to time: {name}")


def pad_once(draft: Draft) -> None:
    """Remove a Conv1d's own padding if forward already pads on the left."""
    for name in _convolutions(draft):
        pads = [
            node
            for function in draft.methods()
            for node in ast.walk(function)
            if _calls(node, name) and "F.pad(" in ast.unparse(node)
        ]
        if pads and _drop_padding(draft, name):
            draft.note(f"convolution padded once: {name}")


def _convolutions(draft: Draft) -> dict[str, str]:
    """Return the convolutions of the constructor: attribute -> width less one, as code."""
    found: dict[str, str] = {}
    for node in ast.walk(draft.init) if draft.init else ():
        match node:
            case ast.Assign(
                targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)],
                value=ast.Call(func=ast.Attribute(attr="Conv1d"), keywords=keywords),
            ) if not any(each.arg in ("dilation", "stride") for each in keywords):
                found[name] = f"self.{name}.kernel_size[0] - 1"
    return found


def _turned_names(function: ast.FunctionDef) -> set[str]:
    """Return the variables that hold something whose dimensions were turned, or made of such."""
    turned: set[str] = set()
    while True:
        found = {
            part.id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and _is_turned(node.value, turned)
            for target in node.targets
            for part in ast.walk(target)
            if isinstance(part, ast.Name)
        }
        if found <= turned:
            return turned
        turned |= found


def _is_turned(given: ast.expr, names: set[str]) -> bool:
    inside = {node.id for node in ast.walk(given) if isinstance(node, ast.Name)}
    return _has_turn(given) or bool(inside & names)


def _has_turn(node: ast.expr) -> bool:
    text = ast.unparse(node)
    return any(sign in text for sign in _TURNED)


def _calls(node: ast.AST, name: str) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=found)):
            return found == name
    return False


def _drop_padding(draft: Draft, name: str) -> bool:
    """Remove `padding=` where the constructor makes the layer; tell whether there was one."""
    dropped = False
    for node in ast.walk(draft.init) if draft.init else ():
        match node:
            case ast.Assign(
                targets=[ast.Attribute(value=ast.Name(id="self"), attr=found)],
                value=ast.Call(keywords=keywords) as call,
            ) if found == name:
                call.keywords = [each for each in keywords if each.arg != "padding"]
                dropped = dropped or len(call.keywords) < len(keywords)
    return dropped


def _turn_back(function: ast.FunctionDef, call: ast.Call) -> None:
    """Put `.transpose(1, 2)` behind a call."""
    turned = ast.Call(
        ast.Attribute(call, "transpose", ast.Load()), [ast.Constant(1), ast.Constant(2)], []
    )
    for node in ast.walk(function):
        for name, value in ast.iter_fields(node):
            if value is call and node is not turned.func:
                setattr(node, name, turned)
                return
            if isinstance(value, list) and any(item is call for item in value):
                setattr(node, name, [turned if item is call else item for item in value])
                return


CONVOLUTIONS = (turn_to_time, pad_once)
