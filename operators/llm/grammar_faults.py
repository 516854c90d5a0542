"""Faults that language models make in code, put into the source of a working unit.

Each is a small edit of the text, so that everything else of the unit stays as it was.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from genesys_engine.gab.contract import read_contract
from genesys_engine.gab.syntax import parse


def wrong_shape(source: str, rng: random.Random) -> str:
    """Return an output that lacks the last position."""
    return edit_result(source, "({result})[:, :-1]")


def leak(source: str, rng: random.Random) -> str:
    """Add the mean over all time, the future included."""
    return edit_result(source, "({result}) + X.mean(dim=1, keepdim=True)")


def no_super(source: str, rng: random.Random) -> str:
    """Leave `super().__init__()` out."""
    lines = source.splitlines(keepends=True)
    number = _super_line(source)
    indent = lines[number][: len(lines[number]) - len(lines[number].lstrip())]
    lines[number] = f"{indent}pass\n"
    return "".join(lines)


def undefined_name(source: str, rng: random.Random) -> str:
    """Use in the constructor a size that only `forward` could know."""
    name = rng.choice(("batch_size", "embed_dim", "seq_len"))
    return insert_in_constructor(source, f"self.extent = {name} * 2")


def dead(source: str, rng: random.Random) -> str:
    """Multiply the result by zero: nothing is mixed, nothing is learnt."""
    return edit_result(source, "({result}) * 0.0")


FAULTS: Mapping[str, Callable[[str, random.Random], str]] = MappingProxyType(
    {
        "wrong_shape": wrong_shape,
        "leak": leak,
        "no_super": no_super,
        "undefined_name": undefined_name,
        "no_mixing": dead,
    }
)
"""Kind of fault -> what puts it into a source."""


def edit_result(source: str, form: str) -> str:
    """Return `source` with the result of each `return Y, Z` of `forward` put into `form`.

    `form` holds `{result}`.
    """
    found = [
        node.value.elts[0]
        for node in ast.walk(_method(source, "forward"))
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple)
    ]
    lines = source.splitlines(keepends=True)
    for node in sorted(found, key=lambda each: (-each.lineno, -each.col_offset)):
        result = ast.get_source_segment(source, node) or ""
        start, end = _offset(lines, node.lineno, node.col_offset), 0
        end = start + len(result)
        source = source[:start] + form.format(result=result) + source[end:]
        lines = source.splitlines(keepends=True)
    return source


def insert_in_constructor(source: str, line: str) -> str:
    """Return `source` with a statement behind `super().__init__()`."""
    lines = source.splitlines(keepends=True)
    number = _super_line(source)
    indent = lines[number][: len(lines[number]) - len(lines[number].lstrip())]
    lines.insert(number + 1, f"{indent}{line}\n")
    return "".join(lines)


def with_imports(source: str, needed: Sequence[str]) -> str:
    """Return `source` with the imports that it lacks, above its own."""
    lines = source.splitlines(keepends=True)
    missing = [f"{line}\n" for line in needed if f"{line}\n" not in lines]
    imports = ast.Import | ast.ImportFrom
    first = next(node for node in parse(source).body if isinstance(node, imports))
    return "".join([*lines[: first.lineno - 1], *missing, *lines[first.lineno - 1 :]])


def rename(source: str, name: str) -> str:
    """Return `source` with its unit called `name`."""
    node = read_contract(parse(source)).node
    lines = source.splitlines(keepends=True)
    line = lines[node.lineno - 1]
    lines[node.lineno - 1] = line.replace(f"class {node.name}", f"class {name}", 1)
    return "".join(lines)


def _method(source: str, name: str) -> ast.FunctionDef:
    unit = read_contract(parse(source)).node
    return next(n for n in unit.body if isinstance(n, ast.FunctionDef) and n.name == name)


def _super_line(source: str) -> int:
    """Return the index of the line that calls the constructor of nn.Module."""
    start = _method(source, "__init__").lineno - 1
    lines = source.splitlines()
    return next(i for i in range(start, len(lines)) if "super().__init__()" in lines[i])


def _offset(lines: list[str], line: int, column: int) -> int:
    """Return the place in the text of what `ast` gives by line and byte column."""
    before = lines[line - 1].encode()[:column].decode()
    return sum(len(each) for each in lines[: line - 1]) + len(before)
