"""Static checks of a source: its language, its class, unused parts.

Every line that does not belong into a block is reported at once, to a person or an LLM.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from genesys_engine.gab.checks.adapter import NAMED, lacking, width_name
from genesys_engine.gab.checks.exceptions import GIVEN
from genesys_engine.gab.checks.guard import check_language
from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.gab.checks.runnable import Runnable, runnable
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.syntax import UNREADABLE, imports, parse

_MAX_FINDINGS = 10  # findings: more of them teach nothing


def check_source(source: str, where: SourceMap) -> list[Finding]:
    """Return `load.syntax`, or what breaks the language of a block (`guard`).

    Nothing of the source runs.
    """
    read = _read(source, where)
    if isinstance(read, Finding):
        return [read]
    return _first([*check_language(read.module, where), *_left_out(read, where)])


def check_static(
    source: str, class_name: str, where: SourceMap, *, adapt: bool = False
) -> list[Finding]:
    """Return the same, and `static.*` of the class `class_name` that the module should define.

    With `adapt` the class may have another form, which an adapter brings to the contract's.
    """
    read = _read(source, where, frozenset({class_name}))
    if isinstance(read, Finding):
        return [read]
    found = [*check_language(read.module, where), *_left_out(read, where)]
    return _first([*found, *_contract(read.module, class_name, where, adapt=adapt)])


def _left_out(read: Runnable, where: SourceMap) -> Iterator[Finding]:
    """Report parts of the source that the engine omits."""
    lines: dict[str, list[int]] = {}
    for each in read.left_out:
        lines.setdefault(each.what, []).append(each.line)
    for what, places in lines.items():
        evidence: dict[str, Evidence] = {"lines": ", ".join(map(str, places))}
        place = where.place_of_line(places[0])
        yield finding("static.left_out", what, evidence, place=place, severity="warning")


def _read(
    source: str, where: SourceMap, keep: frozenset[str] = frozenset({"Block"})
) -> Runnable | Finding:
    try:
        return runnable(source, keep)
    except UNREADABLE as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        text = error.msg if isinstance(error, SyntaxError) else f"{type(error).__name__}: {error}"
        return finding("load.syntax", text[:300], {}, place=where.place_of_line(line))


def _first(findings: Iterable[Finding]) -> list[Finding]:
    """Return the first in the order of lines, but errors before warnings: none may be cut off."""
    order = sorted(findings, key=lambda each: (each.severity != "error", each.line or 0))
    return order[:_MAX_FINDINGS]


def choose_class(source: str) -> str:
    """Return the class that is meant where nobody named one: `Block`, or the only module there is.

    A module that another one uses is a part of it.  "" where several could be meant, or none.
    """
    try:
        classes = _classes_of(parse(source))
        if "Block" in classes:
            return "Block"
        module = runnable(source, keep=classes).module
    except UNREADABLE:
        return "Block"
    if "Block" in _bound(module):
        return "Block"
    candidates = _modules(module)
    used = {
        n.id
        for name, node in candidates.items()
        for n in ast.walk(node)
        if isinstance(n, ast.Name) and n.id != name
    }
    free = [name for name in candidates if name not in used]
    return free[0] if len(free) == 1 else ""


def _classes_of(module: ast.Module) -> frozenset[str]:
    return frozenset(node.name for node in module.body if isinstance(node, ast.ClassDef))


def _modules(module: ast.Module) -> dict[str, ast.ClassDef]:
    """Return the classes at the top level that derive from `nn.Module`, as far as can be seen."""
    found: dict[str, ast.ClassDef] = {}
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            bases = [ast.unparse(base) for base in node.bases]
            if any(base.split(".")[-1] == "Module" or base in found for base in bases):
                found[node.name] = node
    return found


def _contract(
    module: ast.Module, class_name: str, where: SourceMap, *, adapt: bool
) -> Iterator[Finding]:
    """Look at the block's own constructor and forward, where the file spells them out."""
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    block = classes.get(class_name)
    if block is not None:
        methods = {node.name: node for node in block.body if isinstance(node, ast.FunctionDef)}
        bases = [ast.unparse(base) for base in block.bases]
        plain = bases in (["nn.Module"], ["torch.nn.Module"], ["Module"])
        yield from _forward(block, methods.get("forward"), plain=plain)
        if "__init__" in methods or plain:
            yield from _constructor(block, methods.get("__init__"), adapt=adapt)
    elif not class_name or class_name not in _bound(module):
        yield _no_class(class_name, classes, _modules(module))
    yield from _unused(classes, where)


def _no_class(
    class_name: str, classes: Mapping[str, ast.ClassDef], modules: Mapping[str, ast.ClassDef]
) -> Finding:
    known = ", ".join(sorted(classes)) or "none"
    text = f"There is no class {class_name!r}; classes here: {known}."
    if not class_name and modules:
        text = f"Several classes could be the block: {', '.join(sorted(modules))}."
    elif not class_name:
        text = f"There is no class of torch.nn.Module; classes here: {known}."
    return finding("static.no_class", text, {"class": class_name})


def _forward(
    block: ast.ClassDef, forward: ast.FunctionDef | None, *, plain: bool
) -> Iterator[Finding]:
    """Yield `static.forward`: there is none, or it demands more than X."""
    evidence: dict[str, Evidence] = {"class": block.name}
    if forward is None and plain:
        text = f"{block.name} has no method `forward`."
        yield finding("static.forward", text, evidence, place=(block.name, block.lineno))
    if more := lacking(forward, (), x=True):
        text = f"`forward` of {block.name} demands {', '.join(more)} beside X."
        line = forward.lineno if forward else block.lineno
        found = finding("static.forward", text, evidence, place=(block.name, line))
        yield replace(found, advice=GIVEN)


def _constructor(
    block: ast.ClassDef, constructor: ast.FunctionDef | None, *, adapt: bool
) -> Iterator[Finding]:
    """Yield `static.constructor`: arguments of a model are not accepted, or others are required."""
    line = constructor.lineno if constructor else block.lineno
    # An adapter takes care of what is only not taken, but for the width.
    missing = _missing_parameters(constructor)
    if adapt:
        by_name = [a.arg for a in constructor.args.kwonlyargs] if constructor else []
        width = width_name([], by_name)
        missing = [name for name in missing if name not in NAMED and not width]
    if missing:
        text = f"The constructor of {block.name} does not take {', '.join(missing)}."
        evidence: dict[str, Evidence] = {"missing": ", ".join(missing)}
        yield finding("static.constructor", text, evidence, place=(block.name, line))
    elif more := lacking(constructor, NAMED, x=False):
        text = f"The constructor of {block.name} demands {', '.join(more)} beside the width."
        found = finding(
            "static.constructor", text, {"demanded": ", ".join(more)}, place=(block.name, line)
        )
        yield replace(found, advice=f"Give {', '.join(more)} a default.")


def _bound(module: ast.Module) -> set[str]:
    """Return every name that the module may bind at its top level."""
    names = {n.id for n in ast.walk(module) if isinstance(n, ast.Name) and _stores(n)}
    for node in ast.walk(module):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {item.bound for item in imports(node)}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    return names


def _missing_parameters(constructor: ast.FunctionDef | None) -> list[str]:
    """Return which of the arguments of a block the constructor has no place for."""
    wanted = ["embed_dim", "block_loc", "device", "dtype"]
    if constructor is None:
        return wanted
    arguments = constructor.args
    if arguments.kwarg:
        return []
    positional = [a.arg for a in [*arguments.posonlyargs, *arguments.args]][1:]
    known = {*positional, *(a.arg for a in arguments.kwonlyargs)}
    # The width is given by position, so it may have any name; the others are given by name.
    width = wanted[:1] if not positional and not arguments.vararg else []
    return [*width, *(name for name in wanted[1:] if name not in known)]


def _unused(classes: dict[str, ast.ClassDef], where: SourceMap) -> Iterator[Finding]:
    """Yield submodules that a class builds and never names again."""
    for node in classes.values():
        inside = list(ast.walk(node))
        uses = [n for n in inside if isinstance(n, ast.Attribute)]
        loops = {"children", "modules", "named_children", "_modules", "__dict__", "get_submodule"}
        if loops & {use.attr for use in uses}:
            continue
        stored = {use.attr: use for use in uses if _stores(use) and _of_self(use)}
        loaded = {use.attr for use in uses if not _stores(use)}
        texts = {n.value for n in inside if isinstance(n, ast.Constant)}
        for statement in inside:
            match statement:
                case ast.Assign(targets=[ast.Attribute() as target], value=ast.Call() as call):
                    name, made = target.attr, ast.unparse(call.func)
                    builds = made.startswith(("nn.", "torch.nn.")) or made in classes
                    if builds and name in stored and name not in loaded | texts:
                        text = f"{node.name} builds `self.{name}` and never uses it."
                        place = where.place_of_line(statement.lineno)
                        evidence: dict[str, Evidence] = {"attribute": name}
                        yield finding(
                            "static.unused", text, evidence, place=place, severity="warning"
                        )


def _stores(node: ast.Name | ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Store)


def _of_self(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == "self"
