"""Preloaded by a template: the system refuses its next three forks."""

import errno
import os

from genesys_engine.plugins.sandbox import starting

_fork, _left = os.fork, [errno.EAGAIN, errno.ENOMEM, errno.EAGAIN]
starting.PAUSES_S = (0.0, 0.0, 0.0)


def fork():
    if _left:
        raise OSError(_left.pop(), "refused")
    return _fork()


os.fork = fork
