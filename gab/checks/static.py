"""What the source says before anything of it runs: findings, not the defence.

The defence is the sandbox.  A name that reaches for the interpreter is reported here so that a
person or an LLM learns at once, with every line, what does not belong into a block.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.syntax import imports

# Pure computation.  `torch` is allowed but for the parts in `_FORBIDDEN_PARTS`.
_MODULE_WORDS = (
    "__future__ abc collections collections.abc copy dataclasses einops enum functools "
    "itertools math numbers operator opt_einsum torch typing typing_extensions warnings "
    "xformers "
)
ALLOWED_MODULES = frozenset(_MODULE_WORDS.split())
_FORBIDDEN_PARTS = (
    "torch.distributed",
    "torch.hub",
    "torch.load",
    "torch.save",
    "torch.multiprocessing",
    "torch.ops.load_library",
    "torch.package",
    "torch.utils.cpp_extension",
    "torch.utils.model_zoo",
)
_NAME_WORDS = (
    "__import__ __builtins__ __loader__ __spec__ eval exec compile open input globals locals "
    "vars breakpoint exit quit memoryview "
)
_NAMES = frozenset(_NAME_WORDS.split())
_ATTRIBUTE_WORDS = (
    "__globals__ __subclasses__ __bases__ __base__ __mro__ mro __code__ __closure__ "
    "__builtins__ __import__ __loader__ __spec__ __reduce__ __reduce_ex__ f_back f_globals "
    "f_locals f_builtins gi_frame cr_frame ag_frame tb_frame tb_next __traceback__ "
    "__getattribute__ "
)
_ATTRIBUTES = frozenset(_ATTRIBUTE_WORDS.split())
# Also as text: getattr(x, "__glo" + "bals__") is beyond a static look, and the sandbox's matter.
_TEXTS = _ATTRIBUTES - {"mro"}
_MOST = 10  # findings: more of them teach nothing


def check_static(source: str, class_name: str, where: SourceMap) -> list[Finding]:
    """Return `static.*` findings and `load.syntax` of a module that should define `class_name`.

    Nothing of the source runs.
    """
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        text = error.msg if isinstance(error, SyntaxError) else f"{type(error).__name__}: {error}"
        return [finding("load.syntax", text[:300], {}, place=where.place_of_line(line))]
    found = [*_imports(module, where), *_reaches(module, where)]
    found += _contract(module, class_name, where)
    found.sort(key=lambda each: each.line or 0)
    return found[:_MOST]


def chunk_of(source: str) -> int:
    """Return the largest whole number from 2 to 512 in the source that may be a chunk's length.

    0 where the source names none or cannot be read.
    """
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return 0
    values = [
        node.value
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and type(node.value) is int and 2 <= node.value <= 512
    ]
    return max(values, default=0)


def _imports(module: ast.Module, where: SourceMap) -> Iterator[Finding]:
    for node in ast.walk(module):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for item in imports(node):
            name = item.module if item.is_plain else item.target
            if not _allowed(item.module) or _forbidden(name) or _forbidden(item.module):
                text = f"The import of {name!r} is not allowed."
                evidence: dict[str, Evidence] = {"import": name}
                place = where.place_of_line(item.line)
                yield finding("static.import", text, evidence, place=place)


def _allowed(name: str) -> bool:
    return any(name == m or name.startswith(m + ".") for m in ALLOWED_MODULES)


def _forbidden(name: str) -> bool:
    return any(name == part or name.startswith(part + ".") for part in _FORBIDDEN_PARTS)


def _reaches(module: ast.Module, where: SourceMap) -> Iterator[Finding]:
    """Yield every line that reaches for the interpreter, once."""
    lines: dict[int, str] = {}
    for node in ast.walk(module):
        match node:
            case ast.Name(id=name) if name in _NAMES:
                lines.setdefault(node.lineno, name)
            case ast.Attribute(attr=name) if name in _ATTRIBUTES:
                lines.setdefault(node.lineno, name)
            case ast.Attribute() if _forbidden(dotted := ast.unparse(node)):
                lines.setdefault(node.lineno, dotted)
            case ast.Constant(value=str(text)) if text in _TEXTS:
                lines.setdefault(node.lineno, text)
    for line, name in lines.items():
        text = f"{name!r} reaches for the interpreter."
        evidence: dict[str, Evidence] = {"name": name}
        yield finding("static.interpreter", text, evidence, place=where.place_of_line(line))


def _contract(module: ast.Module, class_name: str, where: SourceMap) -> Iterator[Finding]:
    """Look at the block's own constructor and forward, where the file spells them out."""
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    block = classes.get(class_name)
    if block is None:
        if class_name not in _bound(module):
            known = ", ".join(sorted(classes)) or "none"
            text = f"There is no class {class_name!r}; classes here: {known}."
            yield finding("static.no_class", text, {"class": class_name})
        return
    methods = {node.name: node for node in block.body if isinstance(node, ast.FunctionDef)}
    plain = [ast.unparse(base) for base in block.bases] in (["nn.Module"], ["torch.nn.Module"])
    place = (block.name, block.lineno)
    if plain and "forward" not in methods:
        text = f"{class_name} has no method `forward`."
        yield finding("static.forward", text, {"class": class_name}, place=place)
    constructor = methods.get("__init__")
    if constructor is None and not plain:
        return  # inherited: building it will tell
    missing = _missing_parameters(constructor)
    if missing:
        line = constructor.lineno if constructor else block.lineno
        text = f"The constructor of {class_name} does not take {', '.join(missing)}."
        evidence: dict[str, Evidence] = {"missing": ", ".join(missing)}
        yield finding("static.constructor", text, evidence, place=(block.name, line))
    yield from _unused(classes, where)


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
        uses = [n for n in ast.walk(node) if isinstance(n, ast.Attribute)]
        loops = {"children", "modules", "named_children", "_modules", "__dict__", "get_submodule"}
        if loops & {use.attr for use in uses}:
            continue
        stored = {use.attr: use for use in uses if _stores(use) and _of_self(use)}
        loaded = {use.attr for use in uses if not _stores(use)}
        texts = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}
        for statement in ast.walk(node):
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
