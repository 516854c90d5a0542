"""Keys out of everything that is written or shown.

Whatever stands in an environment variable that is named like a secret, or that the options of an
opened component name as `key_variable`, is replaced in texts that come from elsewhere: an error
message of a service may repeat the key that it was sent.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from genesys_engine.engine.common.options import PluginOptions

if TYPE_CHECKING:
    from pydantic import BaseModel

SECRET = re.compile(r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)(?:_|$)", re.I)
"""Names of variables that hold secrets; "TOKENIZERS_PARALLELISM" is none."""
SHORTEST = 6
"""Shorter values would be found in ordinary words."""
MASK = "[key]"
OPTION = "key_variable"
_opened: set[str] = set()  # names of variables; it only grows, so that threads need no lock


def hide_key(model: type[BaseModel] | None, options: PluginOptions) -> None:
    """Let `redact` hide from now on what stands in the variable that options name, if any do.

    Args:
        model: of the options; its default counts where `options` names none.
    """
    fields = {} if model is None else model.model_fields
    default = fields[OPTION].default if OPTION in fields else None
    name = options.get(OPTION, default)
    if isinstance(name, str):
        _opened.add(name)


def redact(text: str, variables: Iterable[str] = ()) -> str:
    """Return `text` without the values of secret environment variables.

    Args:
        variables: names of further variables that hold one.
    """
    for value in _secrets(frozenset(variables)):
        text = text.replace(value, MASK)
    return text


def _secrets(named: frozenset[str]) -> list[str]:
    """Return the values to hide, the longest first, since one may be part of another."""
    found = {
        value
        for name, value in os.environ.items()
        if (name in named or name in _opened or SECRET.search(name)) and len(value) >= SHORTEST
    }
    found |= {json.dumps(value)[1:-1] for value in found}  # as it stands within JSON
    return sorted(found, key=lambda value: (-len(value), value))
