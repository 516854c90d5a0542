"""The start of a process, repeated where the system refuses it for a moment.

A machine short of memory or of process numbers refuses fork and exec now and then: EAGAIN and
ENOMEM, and EFAULT where the kernel could not bring back a page of the command it was given.
Nothing has run then, so the start can be repeated.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
MOMENTARY = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EFAULT})
PAUSES_S = (0.1, 0.4, 1.2)


def retried(start: Callable[[], T]) -> T:
    """Return what `start` gives, which forks or starts a command; call it again if refused.

    Raises:
        OSError: it was refused for another reason, or at every attempt.
    """
    for pause_s in PAUSES_S:
        try:
            return start()
        except OSError as error:
            if error.errno not in MOMENTARY:
                raise
        time.sleep(pause_s)
    return start()
