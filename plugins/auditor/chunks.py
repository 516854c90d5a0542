"""Which lengths the code may work in: chunks, tiles, windows, segments.

A chunk's length is rarely a literal: it is a product, a power, a shift, a ratio of names, a
default, an attribute.  So every expression of the source whose value can be known is worked out,
with the numbers that the built block holds in its attributes.  Nothing of the source runs here.
"""

from __future__ import annotations

import ast
import math
import operator
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Set
from functools import lru_cache
from itertools import product
from typing import Any

from genesys_engine.gab.syntax import UNREADABLE, parse

SHORTEST, LONGEST = 2, 1 << 16
_VALUES = 8  # of one expression; one that may be more is no constant
_ROUNDS = 4  # names that are made from names that are made from names

Values = Mapping[str, Set[int | float]]
Known = tuple[tuple[str, int | float], ...]


def _power(base: float, power: float) -> Any:
    return base**power if abs(base) <= LONGEST and abs(power) <= 16 else 0


def _shift(number: int, by: int) -> int:
    return number << by if 0 <= by <= 16 else 0


_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.LShift: _shift,
    ast.RShift: operator.rshift,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **{"int": int, "round": round, "max": max, "min": min, "abs": abs, "pow": _power},
    **{name: getattr(math, name) for name in ("ceil", "floor", "sqrt", "isqrt", "log2", "gcd")},
}


@lru_cache(maxsize=4)
def lengths_named(source: str, known: Known = ()) -> tuple[int, ...]:
    """Return every whole number from 2 to 65,536 that an expression of the source amounts to.

    `known` are values that names and attributes have in the built block; they count as well.
    Ascending; empty where the source cannot be read.
    """
    try:
        nodes = list(ast.walk(parse(source)))
    except UNREADABLE:
        return ()
    bindings = [pair for node in nodes for pair in _bindings(node)]
    names: dict[str, Set[int | float]] = defaultdict(set)
    for name, value in known:
        names[name] |= {value}
    for _ in range(_ROUNDS):
        values = _Evaluator(names)
        found = {name: names[name] | values.of(value) for name, value in bindings}
        if all(found[name] == names[name] for name in found):
            break
        names.update(found)
    values = _Evaluator(names)
    shares = {id(n) for node in nodes if _is_a_share(node) for n in ast.iter_child_nodes(node)}
    found_in = [n for node in nodes if id(node) not in shares for n in values.of(node)]
    found_in += [value for _, value in known]
    whole = {n for n in found_in if isinstance(n, int) and SHORTEST <= n <= LONGEST}
    return tuple(sorted(whole))


def _bindings(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names and attributes that `node` gives a value, with the value."""
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                yield from _bound(target, value)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            yield from _bound(target, value)
        case ast.NamedExpr(target=target, value=value):
            yield from _bound(target, value)
        case ast.keyword(arg=str(name), value=value):
            yield name, value
        case ast.arguments():
            positional = [*node.posonlyargs, *node.args]
            given = [*zip(reversed(positional), reversed(node.defaults), strict=False)]
            given += [(a, d) for a, d in zip(node.kwonlyargs, node.kw_defaults, strict=True) if d]
            yield from ((argument.arg, default) for argument, default in given)


def _bound(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    match target, value:
        case ast.Name(id=name) | ast.Attribute(attr=name), _:
            yield name, value
        case ast.Tuple(elts=targets), ast.Tuple(elts=parts) if len(targets) == len(parts):
            for each, part in zip(targets, parts, strict=True):
                yield from _bound(each, part)


def _is_a_share(node: ast.AST) -> bool:
    """Tell whether it is 1 / n: a number below one, and n no length."""
    return isinstance(node, ast.BinOp) and (
        isinstance(node.op, ast.Div)
        and isinstance(node.left, ast.Constant)
        and node.left.value == 1
    )


class _Evaluator:
    """What expressions may amount to, each worked out once."""

    def __init__(self, names: Values) -> None:
        self._names = names
        self._known: dict[ast.AST, Set[int | float]] = {}

    def of(self, node: ast.AST) -> Set[int | float]:
        """Return the values of an expression, as far as they follow from `names`."""
        if node not in self._known:
            values = self._evaluate(node)
            self._known[node] = values if len(values) <= _VALUES else set()
        return self._known[node]

    def _evaluate(self, node: ast.AST) -> Set[int | float]:
        match node:
            case ast.Constant(value=int(value)) if type(value) is int:
                return {value}
            case ast.Constant(value=float(value)):
                return {value}
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return self._names.get(name, set())
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return self._apply(_OPERATORS[type(op)], left, right)
            case ast.IfExp(body=body, orelse=other):
                return self.of(body) | self.of(other)
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=arguments):
                function = _FUNCTIONS.get(name)
                return self._apply(function, *arguments) if function and arguments else set()
        return set()

    def _apply(self, function: Callable[..., Any], *operands: ast.expr) -> Set[int | float]:
        found = set()
        for values in product(*map(self.of, operands)):
            try:
                value = function(*values)
            except (ArithmeticError, TypeError, ValueError):
                continue
            if isinstance(value, int | float) and abs(value) < LONGEST**2:
                found.add(value)
        return found
