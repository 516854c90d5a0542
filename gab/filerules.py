"""The unit contract's rules on the file: imports, top-level statements, names.

They keep a file mergeable: every top-level statement binds one name, no name is bound twice, and
nothing runs but definitions.
"""

from __future__ import annotations

import ast

from genesys_engine.gab.missing import KNOWN, Missing, nearest
from genesys_engine.gab.scopes import names_at, undefined_names
from genesys_engine.gab.syntax import Import, imports, walk

ALLOWED_MODULES = (
    "__future__",
    "collections.abc",
    "einops",
    "functools",
    "math",
    "torch",
    "typing",
)
OPTIONAL_MODULES = ("xformers.ops",)  # may be missing: imported in a function, guarded by a try
# Plain imports bind these, so nothing else may.
_PACKAGES = frozenset(module.split(".")[0] for module in ALLOWED_MODULES)


class Breach(Exception):
    """One rule of the contract is broken at `line`; `hint` says how to fix it.

    `missing` is the name that it is about, where one is not defined.
    """

    def __init__(
        self, code: str, message: str, line: int, hint: str, missing: Missing | None = None
    ) -> None:
        super().__init__(message)
        self.code = f"contract.{code}"
        self.message = message
        self.line = line
        self.hint = hint
        self.missing = missing


def check_file(module: ast.Module) -> dict[str, str]:
    """Check imports (nested ones too) and what stands at the top level.

    Returns the names that top-level imports bind, each with its dotted target.
    """
    for node in walk(module):
        if isinstance(node, ast.Import | ast.ImportFrom):
            nested = OPTIONAL_MODULES if node not in module.body else ()
            for item in imports(node):
                _check_import(item, ALLOWED_MODULES + nested)
        elif isinstance(node, ast.Global):
            raise Breach(
                "global",
                f"`global {', '.join(node.names)}`: a unit keeps no state outside of its modules",
                node.lineno,
                "pass the value as an argument or through Z",
            )
    _check_top_level(module)
    statements = [n for n in module.body if isinstance(n, ast.Import | ast.ImportFrom)]
    return {item.bound: item.target for node in statements for item in imports(node)}


def _check_import(item: Import, modules: tuple[str, ...]) -> None:
    loaded = item.target if item.target in modules else item.module
    allowed = any(loaded == m or loaded.startswith(m + ".") for m in modules)
    future = item.module == "__future__" and item.bound != "annotations"
    if not allowed or future or item.bound == "*":
        what = f"{item.module}.*" if item.bound == "*" else item.target
        listed = ", ".join(ALLOWED_MODULES[1:])
        raise Breach(
            "imports",
            f"the import of {what!r} is not allowed",
            item.line,
            f"import by name, from {listed} (and `from __future__ import annotations`) only",
        )


def _check_top_level(module: ast.Module) -> None:
    bound: dict[str, int] = {}
    last_line = 0
    for position, node in enumerate(module.body):
        if node.lineno <= last_line:
            raise _misplaced(node, "two statements share a line", "give each its own line")
        last_line = node.end_lineno or node.lineno
        if position == 0 and _is_text(node):
            continue
        for name, target in _bindings(node):
            if name in bound:
                hint = f"it is bound on line {bound[name]} already: use another name"
                raise _misplaced(node, f"the name {name!r} is bound twice", hint)
            if name in _PACKAGES and target != name:
                hint = "the name belongs to an importable package: use another one"
                raise _misplaced(node, f"the name {name!r} is taken", hint)
            if target != name or name not in _PACKAGES:
                bound[name] = node.lineno


def check_names(module: ast.Module) -> None:
    """Check that every name used is bound: by a scope, at the top level or by Python."""
    names = {name for node in module.body[1:] for name, _ in _bindings(node)}
    names |= {name for node in module.body[:1] if not _is_text(node) for name, _ in _bindings(node)}
    for node in module.body:
        for name, line in undefined_names(node, names).items():
            hint = "define it, import it, or use a name that is known at this place"
            message = f"the name {name!r} is not defined"
            raise Breach("undefined_name", message, line, hint, _missing(name, node, names))


def _missing(name: str, statement: ast.stmt, names: set[str]) -> Missing:
    """Return what is known where a name is not: the names in scope, and those most like it."""
    known = sorted(names_at(statement, names, name) - {"self", name})
    return Missing(name, "", nearest(name, known), tuple(known[:KNOWN]))


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _bindings(node: ast.stmt) -> list[tuple[str, str]]:
    """Return (name, import target or "") for the names that a top-level statement binds."""
    match node:
        case ast.Import() | ast.ImportFrom():
            return [(item.bound, item.target) for item in imports(node)]
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [(name, "")]
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return [(name, "")]
    hint = "only imports, constants (`NAME = value`), functions and classes may stand here"
    raise _misplaced(node, f"a top-level `{type(node).__name__}` statement", hint)


def _misplaced(node: ast.stmt, message: str, hint: str) -> Breach:
    return Breach("top_level", message, node.lineno, hint)
