"""Repairs of forward: its parameters, its calls of children, the pair that it returns."""

from __future__ import annotations

import ast

from genesys_engine.operators.llm.repairs.draft import (
    Draft,
    names_in,
    own_returns,
    rename,
    self_attributes,
)


def fix_signature(draft: Draft) -> None:
    """Bring forward's parameters into the form (self, X, **Z)."""
    forward = draft.forward
    if forward is None:
        return
    arguments = forward.args
    plain = [each.arg for each in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]]
    extra = arguments.kwarg.arg if arguments.kwarg else None
    if plain == ["self", "X"] and extra == "Z" and not arguments.vararg:
        return
    others = [name for name in plain if name not in ("self", "Z")]
    if not others:
        return
    if others[0] != "X" and "X" not in names_in(forward):
        rename(forward, others[0], "X")
    if extra and extra != "Z" and "Z" not in names_in(forward):
        rename(forward, extra, "Z")
    if any(name in names_in(forward) for name in others[1:] if name != "X"):
        return  # it wants more than X: that is for the next reply to fix
    forward.args = ast.arguments(
        [], [ast.arg("self"), ast.arg("X")], None, [], [], ast.arg("Z"), []
    )
    draft.note("forward's parameters mended")


def fix_child_calls(draft: Draft) -> None:
    """Hand Z to the children, and take the pair apart that a child returns."""
    forward = draft.forward
    if forward is None or forward.args.kwarg is None:
        return
    slots = set(draft.slots()) & self_attributes([forward], ast.Load)
    parents = {child: node for node in ast.walk(forward) for child in ast.iter_child_nodes(node)}
    for node in [n for n in ast.walk(forward) if _calls_child(n, slots)]:
        assert isinstance(node, ast.Call)
        if not any(keyword.arg is None for keyword in node.keywords):
            node.keywords.append(ast.keyword(None, ast.Name("Z", ast.Load())))
            draft.note("Z handed to a child")
        match parents[node]:
            case ast.Assign(targets=[ast.Name() as target]) as assign:
                uses = [n for n in ast.walk(forward) if _picks(n, target.id)]
                if not uses:
                    pair = ast.Tuple([target, ast.Name("Z", ast.Store())], ast.Store())
                    assign.targets = [pair]
                    draft.note("a child's pair taken apart")
            case ast.Assign() | ast.Return() | ast.Subscript() | ast.Starred():
                pass
            case outer:
                _put(outer, node, ast.Subscript(node, ast.Constant(0), ast.Load()))
                draft.note("a child's pair taken apart")


def _calls_child(node: ast.AST, slots: set[str]) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=name)):
            return name in slots
    return False


def _picks(node: ast.AST, name: str) -> bool:
    """Tell whether this is `name[...]`: the pair is taken apart later."""
    match node:
        case ast.Subscript(value=ast.Name(id=found), slice=ast.Constant()):
            return found == name
        case ast.Assign(targets=[ast.Tuple()], value=ast.Name(id=found)):
            return found == name
    return False


def _put(outer: ast.AST, old: ast.expr, new: ast.expr) -> None:
    """Replace a direct child node."""
    for name, value in ast.iter_fields(outer):
        if value is old:
            setattr(outer, name, new)
        elif isinstance(value, list) and any(item is old for item in value):
            setattr(outer, name, [new if item is old else item for item in value])


def return_pair(draft: Draft) -> None:
    """Return X and Z where only X is returned."""
    forward = draft.forward
    if forward is None:
        return
    pairs = set(draft.slots()) | {
        method.name
        for method in draft.methods()
        if any(isinstance(each.value, ast.Tuple) for each in own_returns(method))
    }
    for node in own_returns(forward):
        value = node.value
        if value is None or isinstance(value, ast.Tuple) or _calls_child(value, pairs):
            continue
        node.value = ast.Tuple([value, ast.Name("Z", ast.Load())], ast.Load())
        draft.note("Z returned beside X")


def free_z(draft: Draft) -> None:
    """Rename a tensor that is called Z: the name belongs to the values that travel along."""
    forward = draft.forward
    if forward is None:
        return
    slots = set(draft.slots())
    wrong = [
        node.lineno
        for node in ast.walk(forward)
        if isinstance(node, ast.Assign) and _names_tensor_z(node, slots)
    ]
    if not wrong:
        return
    first = min(wrong)
    for node in ast.walk(forward):
        if isinstance(node, ast.Name) and node.id == "Z" and node.lineno >= first:
            unpacked = node.lineno == first and isinstance(node.ctx, ast.Load)
            node.id = "Z" if unpacked else "Y_out"
    for node in own_returns(forward):
        match node.value:
            case ast.Tuple(elts=[_, ast.Name(id="Y_out")]):
                node.value.elts[1] = ast.Name("Z", ast.Load())
    draft.note("a tensor called Z renamed")


def _names_tensor_z(node: ast.Assign, slots: set[str]) -> bool:
    match node:
        case ast.Assign(targets=[ast.Name(id="Z")], value=value):
            built = isinstance(value, ast.Dict | ast.BinOp | ast.Name)
            made = isinstance(value, ast.Call) and ast.unparse(value.func) == "dict"
            return not (built or made or _calls_child(value, slots))
    return False


FORWARD = (free_z, fix_signature, fix_child_calls, return_pair)
