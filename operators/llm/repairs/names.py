"""Repairs of names: the sizes of X, the width, hyper-parameters used without `self`."""

from __future__ import annotations

import ast

from genesys_engine.gab.syntax import parse_expression
from genesys_engine.operators.llm.repairs.constructor import drop_unused_parameters
from genesys_engine.operators.llm.repairs.draft import (
    Draft,
    insert_first,
    replace_nodes,
    self_attributes,
    statement,
    words,
)

_WIDTH = words(
    "D C d dim embed_dim n_embd d_embed hidden_size model_dim d_in in_features input_dim "
    "embedding_dim channels features"
)
_SIZES = ("B", "T", "D"), ("b", "t", "d"), ("B", "T", "C"), ("b", "n", "d"), ("B", "L", "D")
_OF_X = {
    "d_model": "X.shape[-1]",
    "embed_dim": "X.shape[-1]",
    "dim": "X.shape[-1]",
    "seq_len": "X.shape[1]",
    "batch_size": "X.shape[0]",
    "device": "X.device",
    "dtype": "X.dtype",
    "x": "X",
}


def fix_constructor_names(draft: Draft) -> None:
    """In the constructor: other names of the width, `kw`, missing hyper-parameters."""
    init = draft.init
    if init is None:
        return
    for name in sorted(draft.undefined(init)):
        known = next((p for p in draft.original.hyperparameters if p.name == name), None)
        if name == "kw":
            made = statement('kw = {"device": device, "dtype": dtype}')
            insert_first(init, made, after_super=True)
            draft.note("kw defined")
        elif known is not None:
            init.args.kwonlyargs.append(ast.arg(name))
            init.args.kw_defaults.append(ast.Constant(known.default))
            draft.note(f"hyper-parameter restored: {name}")
        elif name in _WIDTH:
            _replace_name(init, name, "d_model")
            draft.note(f"width named d_model: {name}")


def fix_forward_names(draft: Draft) -> None:
    """In forward: sizes of X that are used without being defined, and the like."""
    for function in draft.methods():
        takes_x = any(each.arg == "X" for each in function.args.args)
        undefined = draft.undefined(function) if takes_x else set()
        _fix_parameters_used(draft, function, undefined)
        for sizes in _SIZES:
            if undefined & set(sizes) and len(undefined & set(sizes)) > ("D" in undefined):
                names = ", ".join(each if each in undefined else "_" for each in sizes)
                insert_first(function, statement(f"{names} = X.shape"), after_super=False)
                undefined -= set(sizes)
                draft.note("sizes taken from X")
        for name in sorted(undefined & (set(_OF_X) | _WIDTH)):
            _replace_name(function, name, _OF_X.get(name, "X.shape[-1]"))
            draft.note(f"taken from X: {name}")


def _fix_parameters_used(draft: Draft, function: ast.FunctionDef, undefined: set[str]) -> None:
    """Reach the constructor's parameters through `self`."""
    init = draft.init
    parameters = {each.arg for each in init.args.kwonlyargs} if init else set()
    for name in sorted(undefined & (parameters - {"device", "dtype"} - set(draft.slots()))):
        _replace_name(function, name, f"self.{name}")
        undefined.discard(name)
        draft.note(f"reached through self: {name}")


def store_parameters(draft: Draft) -> None:
    """Keep a parameter on `self` where a method reads it from there and nothing stored it."""
    init = draft.init
    if init is None:
        return
    functions = [init, *draft.methods()]
    missing = self_attributes(functions, ast.Load) - self_attributes(functions, ast.Store)
    missing -= {node.name for node in draft.methods()}
    parameters = {each.arg for each in [*init.args.args, *init.args.kwonlyargs]} - {"self"}
    for name in sorted(missing & parameters - set(draft.slots())):
        insert_first(init, statement(f"self.{name} = {name}"), after_super=True)
        draft.note(f"kept on self: {name}")


def _replace_name(root: ast.AST, name: str, text: str) -> None:
    def change(node: ast.AST) -> ast.AST | None:
        read = isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
        return parse_expression(text) if read else None

    replace_nodes(root, change)


NAMES = (fix_constructor_names, fix_forward_names, store_parameters, drop_unused_parameters)
