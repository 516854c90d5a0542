"""The header Retry-After, which gives seconds or a date (RFC 9110, section 10.2.3)."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime


def seconds_of(header: str) -> float | None:
    """Return the seconds to wait according to a header, None if it has neither form.

    What a service says may be past, and need not be finite.
    """
    try:
        return float(header)
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(header).timestamp() - time.time()
    except (ValueError, OverflowError):  # OverflowError: a zone of endless digits
        return None
