"""The language of a block: what it may access, enforced before any of it runs.

A help to honest authors and a tripwire, not the wall: the kernel confines what runs.  Python has
many ways to what is not the block's; they begin with one of a few constructs, and whole classes of
them are refused on the syntax tree:

* an import or a member of a module that is not listed (`members`), and a module as a value;
* functions of Python, special names and attributes that are not listed (`attributes`), names that
  are only known at run time, and texts that are read as code or as names: annotations, the fields
  of `str.format`, comments with types;
* stores into what is not the block's own, functions that store into what they are given, and
  methods that stand in the place of what `nn.Module` and `Tensor` offer to the checks;
* classes that are made or only known at run time, caught exceptions as values, coroutines.

Names are resolved on the safe side: one that an import binds means that import unless a function
binds it as its own.  Modules are looked up as they are, so call this before a block was loaded.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from genesys_engine.gab.checks.members import refused
from genesys_engine.gab.checks.names import read_names
from genesys_engine.gab.checks.report import Finding, finding
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.checks.walker import ATTRIBUTE, INTERPRETER, Fault, walk
from genesys_engine.gab.syntax import Import, imports

_TYPE_COMMENT = re.compile(r"#\s*type:\s*(?!ignore)")


def check_language(module: ast.Module, where: SourceMap) -> Iterator[Finding]:
    """Yield `static.import` and the findings of the language, each line once."""
    statements = [n for n in ast.walk(module) if isinstance(n, ast.Import | ast.ImportFrom)]
    items = [item for statement in statements for item in imports(statement)]
    yield from _imports(items, where)
    try:
        # A refused import is reported itself.
        names = read_names(module, [item for item in items if not refused(item.target)])
        faults, scripts = walk(module, names)
        faults += _type_comments(where.text) if scripts else ()
    except RecursionError:
        faults = [Fault(1, INTERPRETER, "", "The source is nested too deeply to be read.")]
    seen: set[int] = set()
    for fault in sorted(faults, key=lambda each: each.code == ATTRIBUTE):
        if fault.line not in seen:
            seen.add(fault.line)
            place = where.place_of_line(fault.line)
            found = finding(fault.code, fault.text, {"name": fault.name}, place=place)
            yield replace(found, advice=fault.cure) if fault.cure else found


def _type_comments(source: str) -> Iterator[Fault]:
    """Yield comments with types: TorchScript evaluates them."""
    for number, line in enumerate(source.split("\n"), 1):
        if _TYPE_COMMENT.search(line):
            text = "A comment with types is evaluated by torch.jit.script."
            yield Fault(number, INTERPRETER, "type comment", text, "Write annotations.")


def _imports(items: Iterable[Import], where: SourceMap) -> Iterator[Finding]:
    for item in items:
        name = _needed(item)
        if is_refused(item):
            place = where.place_of_line(item.line)
            text = f"The import of {name!r} is not allowed."
            yield finding("static.import", text, {"import": name}, place=place)


def is_refused(item: Import) -> bool:
    """Tell whether a block may not import this."""
    return bool(item.bound == "*" or refused(item.module) or refused(_needed(item)))


def _needed(item: Import) -> str:
    return item.module if item.is_plain else item.target
