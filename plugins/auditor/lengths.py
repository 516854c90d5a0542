"""At which lengths a block is asked, and between which positions past and future are cut.

What goes wrong with length goes wrong at its own places: within a chunk, at a chunk's end, in
the first or in the last one, where the input is a multiple of a chunk, or longer than one.  A
cut that many numbers divide is the end of a chunk for all of them at once, and its neighbours
are inside; so a dozen cuts of a long input stand for every size that is usual, and those that
the code names have cuts of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

SHORT = 31
_EVERY = 16  # up to here every cut is asked, and then those that many numbers divide, and others
_MAX_PIECES = (1, 2, 3, 4, 6, 8, 9, 10, 12, 14, 15, 16, 17, 20, 21, 24, 28, 30)
FURTHEST = 2048  # how far beyond the context a chunk that the code names is followed
_LONG = 512  # beyond, a row costs as much as a whole probe of a short input
_NAMED = 4  # sizes that have cuts, or a length, of their own

# The end of a chunk of 2^k, 3 * 2^k, 7 * 2^k is at these eighths of a power of two ...
_EIGHTHS = (4, 6, 7)
# ... and that of the sizes between (15, 25, 125 and 9 times 2^k) at multiples of these.
_COMPOSITES = ((960, 480, 240, 120, 60), (1000, 200, 100), (1152, 576, 288, 144, 72))


def cuts(length: int, chunks: Sequence[int] = (), *, few: bool = False) -> list[int]:
    """Return where to cut an input of `length`: the output before a cut depends on nothing behind.

    `chunks` are sizes that the code names.  `few` leaves out what only odd sizes need.
    """
    if length <= SHORT:
        return [cut for cut in range(1, length) if length <= _EVERY or cut in _MAX_PIECES]
    half = length // 2
    ends = {half, length - 1, *([] if few else _ends(length))}
    inside = {half + 1} if few else {half + 1, length // 8 + 1}
    if not few and length <= _LONG:
        inside |= {1, length // 3 | 1}
    found = {cut for cut in ends | inside if 0 < cut < length}
    return sorted(found | _of_named(length, chunks, found))


def _ends(length: int) -> Iterator[int]:
    yield from (eighth * length // 8 for eighth in _EIGHTHS)
    for sizes in _COMPOSITES:
        yield next(((length - 1) // size * size for size in sizes if size < length), 1)


def _of_named(length: int, chunks: Sequence[int], known: set[int]) -> set[int]:
    """Return the cuts that `known` lack: an end and an inside behind the first of each size."""
    found: set[int] = set()
    for size in largest([size for size in chunks if size > _EVERY // 2], length - 1):
        if not any(cut % size == 0 for cut in known | found):
            found.add((length - 1) // size * size)
        if not any(cut > size and cut % size for cut in known | found):
            found.add(min(size + max(1, size // 2), length - 1))
        if len(found) < _NAMED:
            found.add(size)  # the first end: what begins there, begins there
    return found


def largest(chunks: Sequence[int], most: int) -> list[int]:
    """Return the sizes up to `most` that no other one is a multiple of, largest first, a few."""
    fitting = sorted({size for size in chunks if 2 <= size <= most}, reverse=True)
    found: list[int] = []
    for size in fitting:
        if not any(other % size == 0 for other in found):
            found.append(size)
    return found[:_NAMED]


def beyond(context: int, chunks: Sequence[int]) -> int:
    """Return a length behind every chunk that the code names, and no multiple of one.

    Twice the context where it names none that is longer; the context itself where that is long.
    """
    if context >= FURTHEST:
        return context
    further = [size for size in chunks if context < size <= FURTHEST]
    return max([min(2 * context, FURTHEST), *further]) + 3


def prefixes(length: int, context: int, chunks: Sequence[int]) -> list[int]:
    """Return the lengths at which the beginning of an input of `length` is asked alone.

    One token, odd ones and powers of two, the context and its half; and for sizes
    that the code names one before, whole, and beyond, where a block may change the way it computes.
    """
    found = {1, 16, SHORT, 64, 100, context // 2, context}
    for size in largest([c for c in chunks if c > context], length):
        found |= {size, size + 2}
    for size in largest(chunks, context - 1)[:1]:
        found |= {size, size + 1}
    return sorted(n for n in found if 0 < n < length)


def rows_at_once(length: int) -> int:
    """Return how many rows of `length` tokens one forward pass may hold."""
    return max(2, _TOKENS // length)


_TOKENS = 8192

STEP = 2048
"""Tokens of one forward pass of a training on a processor (`plugins/trainers/stepping.py`)."""


def rows_of_step(length: int) -> int:
    """Return how many rows of `length` tokens a training runs at once."""
    return max(1, STEP // length)
