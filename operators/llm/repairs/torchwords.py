"""Repairs of PyTorch names: misspelt functions, hard-coded devices."""

from __future__ import annotations

import ast

from genesys_engine.gab.syntax import parse_expression
from genesys_engine.operators.llm.repairs.draft import Draft, replace_nodes, words

_FUNCTIONAL = words(
    "silu gelu elu celu selu leaky_relu softplus logsigmoid hardtanh mish glu softsign relu6 "
    "hardswish hardsigmoid normalize pad unfold linear scaled_dot_product_attention "
    "one_hot conv1d dropout"
)
_TENSOR = words(
    "exp log sqrt rsqrt sum mean cumsum cumprod matmul bmm einsum cat stack abs square pow clamp "
    "where tril triu arange zeros ones zeros_like ones_like sin cos maximum minimum roll"
)
_SPELLED = {
    "functional": {
        "rmsnorm": "rms_norm",
        "rms": "rms_norm",
        "layernorm": "layer_norm",
        "swish": "silu",
        "SiLU": "silu",
        "GELU": "gelu",
        "leakyrelu": "leaky_relu",
        "log_sigmoid": "logsigmoid",
        "soft_plus": "softplus",
    },
    "nn": {
        "Swish": "SiLU",
        "Silu": "SiLU",
        "Gelu": "GELU",
        "GeLU": "GELU",
        "RmsNorm": "RMSNorm",
        "RMSnorm": "RMSNorm",
        "Layernorm": "LayerNorm",
        "Softmax1d": "Softmax",
    },
}
_FLOATS = words("zeros ones empty randn rand full linspace eye")
_CREATORS = _FLOATS | {"arange", "tensor"}


def spell(draft: Draft) -> None:
    """Correct the names of functions and the modules that they are taken from."""

    def change(node: ast.AST) -> ast.AST | None:
        if not isinstance(node, ast.Attribute):
            return None
        owner, name = ast.unparse(node.value), node.attr
        if owner in ("F", "nn.functional", "torch.nn.functional"):
            right = _SPELLED["functional"].get(name)
            other = f"F.{right}" if right else f"torch.{name}" if name in _TENSOR else None
        elif owner == "torch":
            right = _SPELLED["functional"].get(name, name)
            other = f"F.{right}" if right in _FUNCTIONAL else None
        elif owner in ("nn", "torch.nn"):
            right = _SPELLED["nn"].get(name)
            other = f"nn.{right}" if right else None
        else:
            return None
        if other is not None:
            draft.note(f"spelled {other}: {owner}.{name}")
        return parse_expression(other) if other else None

    replace_nodes(draft.module, change)


def free_device(draft: Draft) -> None:
    """Remove hard-coded devices."""

    def change(node: ast.AST) -> ast.AST | None:
        match node:
            case ast.Call(func=ast.Attribute(value=value, attr="cuda"), args=[]):
                return value
            case ast.Call(
                func=ast.Attribute(value=value, attr="to"), args=[ast.Constant(value=str(name))]
            ) if name.startswith(("cuda", "cpu")):
                return value
        return None

    if replace_nodes(draft.module, change):
        draft.note("wired-in device removed")
    for node in ast.walk(draft.module):
        if isinstance(node, ast.Call):
            wired = [k for k in node.keywords if k.arg == "device" and _is_text(k.value)]
            for keyword in wired:
                node.keywords.remove(keyword)
                draft.note("wired-in device removed")


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def create_on_device(draft: Draft) -> None:
    """Create tensors in forward on X's device, floating ones in its dtype."""
    for function in draft.methods():
        if not any(each.arg == "X" for each in function.args.args):
            continue
        for node in ast.walk(function):
            if not isinstance(node, ast.Call):
                continue
            owner, _, name = ast.unparse(node.func).rpartition(".")
            given = {keyword.arg for keyword in node.keywords}
            if owner != "torch" or name not in _CREATORS or None in given:
                continue
            wanted = ("device", "dtype") if name in _FLOATS else ("device",)
            missing = [each for each in wanted if each not in given]
            node.keywords += [ast.keyword(each, parse_expression(f"X.{each}")) for each in missing]
            if missing:
                draft.note("tensors created on X's device")


TORCHWORDS = (spell, free_device, create_on_device)
