"""The identity of requests: equal texts are the same request, in ledgers and recordings."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from genesys_engine.plugins.api import LLMRequest


def canonical_request(request: LLMRequest) -> dict[str, Any]:
    """Return the identity of a request as JSON data, without deadline and purpose."""
    return {
        "messages": [list(message) for message in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": float(request.temperature),
        "seed": request.seed,
        "schema": None if request.schema is None else dict(request.schema),
    }


def request_digest(request: LLMRequest) -> str:
    """Return the SHA-256 of the canonical request."""
    text = json.dumps(canonical_request(request), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
