"""Limits of PyTorch or this processor, as opposed to faults of a block.

Blocks are checked on a CPU.  Some operations have no kernel there, or none in a dtype, while a GPU
has one; some have none in reduced precision on any device.  The exception's text is all that
PyTorch gives to tell them apart.
"""

from __future__ import annotations

import re

from genesys_engine.gab.raised import Raised

# Kernels that exist on other devices: what the exception says -> what is lacking here.
_LACKING = {
    r"does not support backward on CPU": "no backward pass for it on a CPU",
    r"could not create a primitive": "no kernel for it on this processor (oneDNN)",
    r"not implemented for '(BFloat16|Half|Float8\w*)'": "no kernel for it in this dtype on a CPU",
    r"Could not run '[\w:.]+' with arguments from the '\w*CPU'": "no kernel for it on a CPU",
    r"No operator found for `?memory_efficient_attention": "no kernel for it on a CPU (xformers)",
}
# Documented for float, double and their complex counterparts alone, on every device.
_NOWHERE = re.compile(
    r'"(linalg|_?cholesky|triangular_solve|lu|geqrf|orgqr|ormqr|lstsq|eig|svd|qr)\w*" '
    r"not implemented"
)


def lacking_here(error: Raised) -> str:
    """Return what PyTorch lacks on this machine and has elsewhere, or "" for any other error."""
    text = error.text
    if "RuntimeError" not in error.kinds or _NOWHERE.search(text):  # NotImplementedError is one
        return ""
    return next((what for pattern, what in _LACKING.items() if re.search(pattern, text)), "")
