"""The meaning of names and attributes in a module, over all of its scopes."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from genesys_engine.gab.syntax import Import, imports

# Methods and functions that make an attribute of a name that they are given, and its place.
_NAMING = {
    "getattr": 1, "hasattr": 1, "setattr": 1, "register_buffer": 0, "register_parameter": 0,
    "register_module": 0, "add_module": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Names:
    """The names of one module.

    `targets` maps a name to the dotted names of all that imports, or aliases of them, bind to it;
    `bound` counts what binds a name.  `classes` are the module's own, `steady` are names that
    nothing but classes, imports and aliases binds, `aliases` other names of what is imported,
    `missing` those of refused imports, `shared` those that a scope takes as global.  `attributes`
    are the names of attributes that it defines, `prefixes` what others of them begin with.
    """

    targets: Mapping[str, tuple[str, ...]]
    bound: Mapping[str, int]
    classes: frozenset[str]
    steady: frozenset[str]
    aliases: frozenset[str]
    missing: frozenset[str]
    shared: frozenset[str]
    attributes: frozenset[str]
    prefixes: tuple[str, ...]

    def defines(self, attribute: str) -> bool:
        """Tell whether the module may define an attribute of this name itself."""
        return attribute in self.attributes or attribute.startswith(self.prefixes)


def read_names(module: ast.Module, imported: Iterable[Import]) -> Names:
    """Return the names of a module; `imported` are the imports to resolve."""
    nodes = list(ast.walk(module))
    items = list(imported)
    bound = Counter(name for node in nodes for name in binds(node))
    made = [name for node in nodes for name in _attributes(node)]
    targets = _targets(nodes, items, bound)
    aliases = frozenset(targets) - {item.bound for item in items}
    classes = Counter(node.name for node in nodes if isinstance(node, ast.ClassDef))
    by_import = Counter(item.bound for item in _imported(nodes))
    return Names(
        targets=targets,
        bound=bound,
        classes=frozenset(classes),
        steady=frozenset(n for n in bound if classes[n] + by_import[n] == bound[n]) | aliases,
        aliases=aliases,
        missing=frozenset(by_import) - {item.bound for item in items},
        shared=frozenset(n for node in nodes if isinstance(node, ast.Global) for n in node.names),
        attributes=frozenset(name for name, whole in made if whole),
        prefixes=tuple({name for name, whole in made if not whole}),
    )


def _imported(nodes: Iterable[ast.AST]) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(node)


def _targets(
    nodes: Iterable[ast.AST], imported: Iterable[Import], bound: Mapping[str, int]
) -> dict[str, tuple[str, ...]]:
    """Return what imports bind, and names that are only ever another name of it (`f = F.relu`)."""
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    times: Counter[str] = Counter()
    for item in imported:
        found[item.bound][item.target] = None
        times[item.bound] += 1
    others: defaultdict[str, list[ast.expr]] = defaultdict(list)
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                others[name].append(value)
    only = {n: values for n, values in others.items() if len(values) + times[n] == bound[n]}
    for _ in range(3):  # the other name of another name
        for name, values in only.items():
            choices = [choice for value in values for choice in _choices(value)]
            found[name] |= dict.fromkeys(t for choice in choices for t in chain(choice, found))
    return {name: tuple(targets) for name, targets in found.items() if targets}


def _choices(value: ast.expr) -> Iterator[ast.expr]:
    """Yield the alternatives of a value: `nn.RMSNorm if new else nn.LayerNorm`."""
    match value:
        case ast.IfExp(body=body, orelse=other):
            yield from (*_choices(body), *_choices(other))
        case ast.BoolOp(values=values):
            yield from (choice for each in values for choice in _choices(each))
        case _:
            yield value


def chain(node: ast.expr, targets: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the dotted targets of a chain of attributes that begins at a name of `targets`."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return []
    return [".".join([target, *reversed(parts)]) for target in targets.get(node.id, ())]


def binds(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node binds or deletes, in whatever scope."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import() | ast.ImportFrom():
            yield from (item.bound for item in imports(node))
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
            yield name
        case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
            yield name
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            yield from names


def _attributes(node: ast.AST) -> Iterator[tuple[str, bool]]:
    """Yield the attributes that a node defines: the whole name, or its prefix."""
    match node:
        case ast.Attribute(attr=name, ctx=ast.Store()):
            yield name, True
        case ast.ClassDef():
            for statement in node.body:
                yield from ((name, True) for name, _ in defined(statement))
        case ast.Assign(targets=[ast.Name(id="__slots__")]):
            yield from _texts(node.value)
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            at = _NAMING.get(name)
            if at is not None and len(node.args) > at:
                yield from _text(node.args[at])
            elif name in ("namedtuple", "NamedTuple"):
                yield from (each for part in node.args[1:] for each in _texts(part))


def _texts(node: ast.AST) -> Iterator[tuple[str, bool]]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield from ((word, True) for word in part.value.replace(",", " ").split())


def _text(node: ast.expr) -> Iterator[tuple[str, bool]]:
    match node:
        case ast.Constant(value=str(name)):
            yield name, True
        case ast.JoinedStr(values=[ast.Constant(value=str(prefix)), *_]):
            yield prefix, False
        case _:
            yield "", False  # any name


def defined(statement: ast.stmt) -> Iterator[tuple[str, int]]:
    """Yield the names that a statement of a class body binds, with their lines."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name, statement.lineno
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno


def own_names(body: Iterable[ast.AST]) -> set[str]:
    """Return the names that a function's own statements make its locals, on the safe side.

    Not those that an import binds, nor what is bound in a comprehension, a class or a function
    inside, nor those that it declares to be another scope's.
    """
    names: set[str] = set()
    others: set[str] = set()
    queue = list(body)
    while queue:
        node = queue.pop()
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.Global() | ast.Nonlocal():
                others |= set(node.names)
            case ast.Import() | ast.ImportFrom():
                others |= {item.bound for item in imports(node)}
            case (
                ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Lambda()
                | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp()
            ):  # fmt: skip
                continue
        queue += ast.iter_child_nodes(node)
    return names - others
