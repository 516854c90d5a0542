"""What was asked for and is not there, and what comes nearest: attributes, names, keywords.

`missing_from` and `signature_of` run where the candidate does, on the real object that lacks the
name or was called; they look names up and call nothing but `getattr`.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import FrameType, ModuleType
from typing import Any

from genesys_engine.gab.held import own_names
from genesys_engine.gab.syntax import UNREADABLE, parse_expression

SHOWN, NEAREST, KNOWN = 3, 12, 16  # names: of the nearest, the language of a block refuses some
LONGEST = 300  # characters of a signature
_LIKE, _INHERITED = 0.5, 0.75  # how like a name must be, from 0 to 1
_ELSEWHERE = (
    "torch", "torch.nn.functional", "torch.nn", "math", "torch.linalg", "torch.special",
    "torch.fft",
)  # fmt: skip
_KEYWORD = re.compile(r"unexpected keyword argument '(\w+)'")
_IMPORT = re.compile(r"cannot import name '(\w+)' from '([\w.]+)'")
_PARAMETER = re.compile(r"(?<![\w.'\"=])\*{0,2}([A-Za-z_]\w*)(?=\s*(?:[=:,]|$))")
_NOWHERE = object()


@dataclass(frozen=True)
class Missing:
    """A name that is not there.

    `owner` is what lacks it: a class, a module, a function with its parentheses, or "" for the
    names in scope.  `nearest` are the names most like it, `known` the owner's own, as far as a
    person would list them.
    """

    name: str
    owner: str
    nearest: tuple[str, ...] = ()
    known: tuple[str, ...] = ()


def nearest(
    name: str, names: Iterable[str], most: int = SHOWN, like: float = _LIKE
) -> tuple[str, ...]:
    """Return the names most like `name`, best first; capitals and underscores do not count."""
    spelt: dict[str, str] = {}
    for each in names:
        spelt.setdefault(_plain(each), each)
    return tuple(spelt[n] for n in difflib.get_close_matches(_plain(name), spelt, most, like))


def missing_from(error: BaseException, frame: FrameType, code: str) -> Missing | None:
    """Return the name that an exception is about; `code` is the expression that raised it."""
    try:
        match error:
            case AttributeError():
                return _attribute(error, frame, code)
            case NameError():
                return _name(error, frame)
            case ImportError():
                return _imported(error)
            case KeyError():
                return _key(error, frame, code)
            case TypeError():
                return _keyword(error, frame, code)
    except Exception:  # the candidate's own classes may fail at anything
        return None
    return None


def signature_of(error: BaseException, frame: FrameType, code: str) -> str:
    """Return the signature of what a call gave wrong arguments to, "" where it is unknown."""
    if not isinstance(error, TypeError):
        return ""
    try:
        return _signature(*_called(frame, code))[0]
    except Exception:
        return ""


# --- by kind of exception ---------------------------------------------------------------------


def _attribute(error: AttributeError, frame: FrameType, code: str) -> Missing | None:
    node = _expression(code)
    name, owner = error.name, error.obj
    if owner is None and isinstance(node, ast.Attribute):
        name, owner = node.attr, _value(node.value, frame)
    if not name or owner is _NOWHERE:
        return None
    if isinstance(owner, ModuleType):
        return _of_module(name, owner)
    kind = owner if isinstance(owner, type) else type(owner)
    known = own_names(owner) if hasattr(kind, "named_parameters") and owner is not kind else []
    others = [n for n in dir(owner) if _is_public(n) and n not in known]
    like = _INHERITED if known else _LIKE  # else a module's many methods hide what is its own
    found = (*nearest(name, known), *nearest(name, others, NEAREST, like))
    near = dict.fromkeys((*_elsewhere(name), *found))
    return Missing(name, kind.__name__, tuple(near)[:NEAREST], tuple(known[:KNOWN]))


def _of_module(name: str, owner: ModuleType) -> Missing:
    like = nearest(name, filter(_is_public, dir(owner)), NEAREST)
    near = dict.fromkeys((*_elsewhere(name), *like))
    return Missing(name, owner.__name__, tuple(near)[:NEAREST])


def _name(error: NameError, frame: FrameType) -> Missing | None:
    name = error.name
    if not name or isinstance(error, UnboundLocalError):  # it is there, further down
        return None
    known = [n for n in (*frame.f_locals, *frame.f_globals) if _is_public(n) and n != "self"]
    near = nearest(name, [*known, *filter(_is_public, dir(builtins))])
    near = tuple(dict.fromkeys((*_elsewhere(name), *near)))[:NEAREST]
    return Missing(name, "", near, tuple(dict.fromkeys(known))[:KNOWN])


def _imported(error: ImportError) -> Missing | None:
    told = _IMPORT.search(str(error))
    module = sys.modules.get(told[2]) if told else None
    return _of_module(told[1], module) if told and module is not None else None


def _key(error: KeyError, frame: FrameType, code: str) -> Missing | None:
    node = _expression(code)
    key = error.args[0] if error.args else None
    if not isinstance(node, ast.Subscript) or not isinstance(key, str):
        return None
    value = _value(node.value, frame)
    keys = [each for each in value if isinstance(each, str)] if _is_mapping(value) else []
    return Missing(key, ast.unparse(node.value), nearest(key, keys), tuple(keys[:KNOWN]))


def _keyword(error: TypeError, frame: FrameType, code: str) -> Missing | None:
    told = _KEYWORD.search(str(error))
    if not told:
        return None
    value, name = _called(frame, code)
    parameters = _signature(value, name)[1]
    return Missing(told[1], f"{name}()", nearest(told[1], parameters), tuple(parameters[:KNOWN]))


# --- looking things up ------------------------------------------------------------------------


def _called(frame: FrameType, code: str) -> tuple[Any, str]:
    """Return what an expression calls, and how it is written.

    Raises:
        LookupError: it is no call, or of something that must be computed first.
    """
    node = _expression(code)
    value = _value(node.func, frame) if isinstance(node, ast.Call) else _NOWHERE
    if value is _NOWHERE or not isinstance(node, ast.Call):
        raise LookupError(code)
    return value, ast.unparse(node.func)


def _value(node: ast.expr, frame: FrameType) -> Any:
    """Return what a chain of names stands for; nothing is called or computed."""
    match node:
        case ast.Name(id=name):
            for scope in (frame.f_locals, frame.f_globals, vars(builtins)):
                if name in scope:
                    return scope[name]
        case ast.Attribute(value=inner, attr=name):
            owner = _value(inner, frame)
            return _NOWHERE if owner is _NOWHERE else getattr(owner, name, _NOWHERE)
    return _NOWHERE


def _signature(value: Any, name: str) -> tuple[str, list[str]]:
    """Return the signature of a function as a person would write it, and its parameters.

    Functions of C have it in the first line of their description.
    """
    if hasattr(type(value), "named_parameters"):  # a module is called: its forward is
        value = value.forward
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except ValueError:
        lines = (value.__doc__ or "").strip().splitlines()
        first = re.match(
            rf"{re.escape(value.__name__)}\((.*?)\)(?: ->|$)", lines[0] if lines else ""
        )
        if not first:
            return "", []
        return f"{name}({first[1]})"[:LONGEST], _PARAMETER.findall(first[1])
    shown = ", ".join(_shown(parameters))
    named = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return f"{name}({shown})"[:LONGEST], named


def _shown(parameters: Iterable[inspect.Parameter]) -> Iterable[str]:
    starred = False
    for each in parameters:
        prefix = "*" * (each.kind is each.VAR_POSITIONAL) + "**" * (each.kind is each.VAR_KEYWORD)
        if each.kind is each.KEYWORD_ONLY and not starred:
            yield "*"
        starred = starred or each.kind in (each.VAR_POSITIONAL, each.KEYWORD_ONLY)
        default = each.default
        plain = default is None or type(default) in (bool, int, float, str)
        yield f"{prefix}{each.name}" + (
            "" if default is each.empty else f"={default!r}" if plain else "=..."
        )


def _elsewhere(name: str) -> list[str]:
    """Return where modules of PyTorch have exactly this name."""
    modules = [sys.modules.get(path) for path in _ELSEWHERE]
    return [f"{m.__name__}.{name}" for m in modules if m is not None and name in vars(m)]


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) or hasattr(type(value), "keys")


def _is_public(name: str) -> bool:
    return not name.startswith("_")


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def _expression(code: str) -> ast.expr | None:
    try:
        return parse_expression(code.strip())
    except UNREADABLE:
        return None
