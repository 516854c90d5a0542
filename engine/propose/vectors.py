"""Cosines between one vector and many, exact and the same on every machine.

Vectors are kept by their places (an inverted file): the ones of `hashed` have some twenty of
2,048.  A cosine is summed place by place, in order, so it does not depend on what else is held,
as the blocks of a matrix product do.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Vectors:
    """A growing collection of unit vectors, numbered in the order in which they came."""

    def __init__(self) -> None:
        self._rows: dict[int, array[int]] = {}
        self._values: dict[int, array[float]] = {}
        self._count = 0

    def __len__(self) -> int:
        """Return the number of vectors."""
        return self._count

    def add(self, vector: NDArray[np.float32]) -> None:
        """Add a vector (D,)."""
        import numpy as np

        for place in map(int, np.flatnonzero(vector)):
            self._rows.setdefault(place, array("q")).append(self._count)
            self._values.setdefault(place, array("d")).append(float(vector[place]))
        self._count += 1

    def cosines(self, vector: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the cosine of `vector` (D,) with each, rounded to six digits (N,)."""
        import numpy as np

        found = np.zeros(self._count)
        for place in map(int, np.flatnonzero(vector)):
            if place in self._rows:
                rows = np.array(self._rows[place], dtype=np.int64)
                found[rows] += float(vector[place]) * np.array(self._values[place])
        return found.round(6)
