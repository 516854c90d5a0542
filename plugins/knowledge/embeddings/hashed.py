"""Word counts as vectors: an embedding that needs no model.

Words without their endings and pairs of neighbours are hashed to 2,048 signed places (feature
hashing, Weinberger et al. 2009, arXiv 0902.2206), with the square root of their counts.  It
knows no synonyms: what it adds to full-text search is phrases, and another measure of length.
"""

from __future__ import annotations

import itertools
import math
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIMENSION = 2048
PAIR_WEIGHT = 0.5  # against 1 for a word; measured in experiments/bench/retrieval.py
WORD = re.compile(r"[^\W_]+")
ENDINGS = ("ing", "ers", "er", "ed", "es", "s")
STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be been both but by can do does for from had has have how if in into"
        " is it its may more most no not of on only or our over such than that the their them then"
        " there these they this those to under up was we were what when where which while who why"
        " will with you your",
    )
)


class Hashed:
    """Embeds texts as unit vectors of 2,048 float32; a text without words has its own."""

    name = "hashed"
    dimension = DIMENSION

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one row per text (N, 2048)."""
        import numpy as np

        found = np.zeros((len(texts), DIMENSION), dtype=np.float32)
        for row, text in zip(found, texts, strict=True):
            for feature, weight in _features(text).items():
                code = zlib.crc32(feature.encode())  # the same on every machine, in every run
                sign = 1.0 if code & 1 else -1.0
                row[(code >> 1) % DIMENSION] += sign * math.sqrt(weight)
            length = float(np.linalg.norm(row))
            row /= length or 1.0
            row[0] += float(length == 0.0)  # no direction of its own, yet one of unit length
        return found


def _features(text: str) -> dict[str, float]:
    """Return the words and neighbouring pairs of a text with their weights."""
    words = [_stem(word) for word in WORD.findall(text.casefold()) if word not in STOP_WORDS]
    found: dict[str, float] = {word: float(count) for word, count in Counter(words).items()}
    for first, second in itertools.pairwise(words):
        pair = f"{first} {second}"
        found[pair] = found.get(pair, 0.0) + PAIR_WEIGHT
    return found


def _stem(word: str) -> str:
    """Return a word without a common ending, where four letters remain."""
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) >= len(ending) + 4:
            return word.removesuffix(ending)
    return word
