"""What operators say and answer, held to what they promise before anything is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from genesys_engine.engine.common.canonical import canonical_json
from genesys_engine.gab.errors import PluginError
from genesys_engine.gab.tree import GABTree
from genesys_engine.plugins.api import Child, Operator

MEND = (
    "the run needs all its operators: fix or update the plugin and resume, or start another run"
    " without it"
)
"""What to do about an operator that does not work."""


def checked_operator(operator: Any, name: str) -> Operator:
    """Return an operator that can be called and says how many parents it takes.

    Raises:
        PluginError: it cannot be called, or its `arity` is no pair of numbers.
    """
    if not callable(operator):
        raise _wrong(name, "it must have a method __call__(parents, context)")
    found: Operator = operator
    match arity := getattr(operator, "arity", None):
        case (int(fewest), int(most)) if 0 <= fewest <= most:
            return found
    raise _wrong(name, f"arity must be the fewest and most parents, like (1, 1), not {arity!r}")


def checked_child(answer: Any, operator: str) -> Child:
    """Return the answer of an operator if it is a child that a run can keep.

    Raises:
        PluginError: it is none, or its tree, sentence or details are not usable.
    """
    if not isinstance(answer, Child):
        raise _wrong(operator, f"it must return a Child, not {type(answer).__name__}")
    if not isinstance(answer.tree, GABTree):
        raise _wrong(operator, f"Child.tree must be a GABTree, not {type(answer.tree).__name__}")
    try:
        answer.tree.validate()
    except Exception as error:  # a list of anything may call itself a tree
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise _wrong(operator, f"the tree of the child is malformed: {reason}") from error
    if not _is_text(answer.change):
        raise _wrong(operator, f"Child.change must be a sentence, not {answer.change!r:.60}")
    checked_details(answer.details, operator)
    return answer


def checked_details(details: Any, operator: str) -> Mapping[str, JsonValue]:
    """Return what an operator tells next to its answer; `PluginError` if JSON cannot hold it."""
    try:
        canonical_json(dict(details))
    except (TypeError, ValueError, RecursionError) as error:
        raise _wrong(operator, f"the details are not JSON: {error}") from error
    return dict(details)


def _is_text(value: Any) -> bool:
    """Tell whether a value is text that can be written to a file."""
    try:
        return isinstance(value, str) and bool(value.encode())
    except UnicodeEncodeError:
        return False


def _wrong(operator: str, message: str) -> PluginError:
    return PluginError(message, where=f"operator {operator}", hint=MEND)
