"""The ratio of two sums over texts or items, such as bits per byte, and how sure it is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def ratio(parts: NDArray[Any], sizes: NDArray[Any]) -> tuple[float, float]:
    """Return the sum of `parts` (N,) over that of `sizes` (N,), and its standard error.

    Cochran 1977, Sampling Techniques, eq. 6.13.  What cannot be reckoned, such as the error of a
    single part, is NaN or infinite.
    """
    import numpy as np

    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(parts.sum() / sizes.sum())
        spread = float(np.sqrt(((parts - value * sizes) ** 2).sum() / (len(parts) - 1)))
        return value, spread / (math.sqrt(len(parts)) * float(sizes.mean()))
