"""Keys out of everything that is written or shown.

Whatever stands in an environment variable that is named like a secret is replaced in texts that
come from elsewhere: an error message of a service may repeat the key that it was sent.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable

SECRET = re.compile(r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)(?:_|$)", re.I)
"""Names of variables that hold secrets; "TOKENIZERS_PARALLELISM" is none."""
SHORTEST = 6
"""Shorter values would be found in ordinary words."""
MASK = "[key]"


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
        if (name in named or SECRET.search(name)) and len(value) >= SHORTEST
    }
    found |= {json.dumps(value)[1:-1] for value in found}  # as it stands within JSON
    return sorted(found, key=lambda value: (-len(value), value))
