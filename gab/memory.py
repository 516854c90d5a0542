"""Recognising refused allocations; imports nothing heavy."""

from __future__ import annotations

import errno

_SIGNS = (
    "can't allocate memory",  # PyTorch's allocator
    "could not create a primitive",  # oneDNN, which has no room for its scratch space
)


def is_memory_error(error: BaseException) -> bool:
    """Tell whether Python's, NumPy's or PyTorch's allocator (CPU or CUDA) refused."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and any(sign in _message(error) for sign in _SIGNS))
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    )


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an exception of a candidate's own may fail at this
        return ""
