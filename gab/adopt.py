"""A block file as a tree: somebody's own block becomes a unit that stands alone at the root.

The file is read as text and never run.  What it holds stays as it is, line by line; a unit of the
interface "block" is written behind it, which builds the block and calls it.  Keyword parameters
with plain defaults become hyper-parameters.  A file that holds a unit without children is taken as
it is.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

from genesys_engine.gab.contract import is_value
from genesys_engine.gab.errors import UnitError
from genesys_engine.gab.interfaces import ROOT_INTERFACE
from genesys_engine.gab.syntax import UNREADABLE, parse
from genesys_engine.gab.tree import GABTree, grow
from genesys_engine.gab.unit import parse_unit

BLOCK, ADOPTED = "Block", "OwnBlock"
SUPPLIED = ("block_loc", "device", "dtype")

_UNIT = '''

class {unit}({module}):
    """{summary}"""

    interface = "{interface}"
    inputs = ()
    outputs = ()

    def __init__(self, d_model, block_loc, *, {parameters}device=None, dtype=None):
        super().__init__()
        self.block = {block}({arguments})

    def forward(self, X, **Z):
        {answer}
'''
_ANSWER = {True: "return self.block(X, **Z)", False: "return self.block(X), Z"}


def adopt_block(source: str, *, where: str = "<block>") -> GABTree:
    """Return the tree of a block file.

    The block is the class `Block`, or else the last one with a `forward`.  Its constructor takes
    the width and, by these names or in this order, block_loc, device and dtype, or some of them.

    Raises:
        UnitError: it is not Python, has no block, or breaks the unit contract, with file:line.
        TreeError: it is a unit that needs children.
    """
    text = source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    try:
        module = parse(text)
    except UNREADABLE as error:
        line = getattr(error, "lineno", None) or 1
        raise UnitError(f"this is not Python: {error}", where=f"{where}:{line}") from None
    classes = {n.name: n for n in module.body if isinstance(n, ast.ClassDef)}
    units = [node for node in classes.values() if _interface(node) is not None]
    if BLOCK not in classes and units:
        return grow(parse_unit(text, where=where))
    named = [node for node in classes.values() if _method(node, "forward") is not None]
    block = classes.get(BLOCK) or (named[-1] if named else None)
    if block is None:
        hint = f"write a class `{BLOCK}`; see docs/auditor.md"
        raise UnitError("no class has a `forward`", where=f"{where}:1", hint=hint)
    if _interface(block) is not None:
        return grow(parse_unit(text, where=where))
    unit = _unit(block, _module_name(module), classes)
    return grow(parse_unit(_without_interfaces(text, units) + unit, where=where))


def _interface(node: ast.ClassDef) -> ast.Assign | None:
    """Return the statement by which a class says that it is a unit."""
    for each in node.body:
        match each:
            case ast.Assign(targets=[ast.Name(id="interface")]):
                return each
    return None


def _method(node: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    found = (n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == name)
    return next(found, None)


def _without_interfaces(text: str, units: list[ast.ClassDef]) -> str:
    """Return a composed file whose units are mere helpers, on the lines on which they stood."""
    lines = text.rstrip("\n").split("\n")
    for node in units:
        if (found := _interface(node)) is not None:
            lines[found.lineno - 1] = f"{' ' * found.col_offset}part = {ast.unparse(found.value)}"
    return "\n".join(lines) + "\n"


def _module_name(module: ast.Module) -> str:
    """Return the file's name for `torch.nn.Module`."""
    for node in module.body:
        match node:
            case ast.ImportFrom(module="torch", names=names):
                for each in names:
                    if each.name == "nn":
                        return f"{each.asname or 'nn'}.Module"
            case ast.Import(names=names):
                for each in names:
                    if each.name == "torch.nn" and each.asname:
                        return f"{each.asname}.Module"
            case ast.ImportFrom(module="torch.nn", names=names):
                for each in names:
                    if each.name == "Module":
                        return each.asname or "Module"
    return "torch.nn.Module"


def _unit(block: ast.ClassDef, module: str, classes: Mapping[str, ast.ClassDef]) -> str:
    """Return the source of the unit that holds a block."""
    parameters, arguments = _constructor(_method(block, "__init__"))
    forward = _method(block, "forward")
    takes_z = forward is not None and forward.args.kwarg is not None
    summary = (ast.get_docstring(block) or "").strip().split("\n")[0].rstrip(".").replace('"', "'")
    return _UNIT.format(
        unit=ADOPTED if ADOPTED not in classes else f"{ADOPTED}_",
        module=module,
        summary=f"{summary or 'A block of its own'}.".replace("\\", "/"),
        interface=ROOT_INTERFACE,
        parameters="".join(f"{name}={value}, " for name, value in parameters.items()),
        block=block.name,
        arguments=", ".join(arguments),
        answer=_ANSWER[takes_z],
    )


def _constructor(node: ast.FunctionDef | None) -> tuple[dict[str, str], list[str]]:
    """Return the hyper-parameters with their defaults, and how the block is called."""
    if node is None:
        return {}, []
    positional = [a.arg for a in [*node.args.posonlyargs, *node.args.args]][1:]
    values = dict(zip(reversed(positional), reversed(node.args.defaults), strict=False))
    keywords = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    values |= {a.arg: value for a, value in keywords if value is not None}
    names = [*positional[1:], *(a.arg for a in node.args.kwonlyargs)]
    arguments = ["d_model"] if positional else []
    if len(positional) > 1 and positional[1] not in values and positional[1] not in SUPPLIED:
        arguments.append("block_loc")  # the second, whatever it is called
        names.remove(positional[1])
    parameters: dict[str, str] = {}
    for name in names:
        if name in SUPPLIED:
            arguments.append(f"{name}={name}")
        elif name in values and _is_plain(values[name]):
            parameters[name] = ast.unparse(values[name])
            arguments.append(f"{name}={name}")
    if node.args.kwarg is not None:
        arguments += [f"{name}={name}" for name in ("device", "dtype") if name not in names]
    return parameters, arguments


def _is_plain(node: ast.expr) -> bool:
    try:
        return is_value(ast.literal_eval(node))
    except (ValueError, TypeError, SyntaxError):
        return False
