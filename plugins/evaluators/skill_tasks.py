"""Synthetic tasks that ask a block for one skill each, as generators of items.

An item is a row of tokens and, at the places that are scored, the token that is right there.  What
is right follows from the tokens before the place (or, for `memorise`, from a table that training
shows), never from later ones, so that no item can be solved by looking ahead.

Sources: multi-query associative recall from Arora et al. 2023 (Zoology, arXiv 2312.04927, section
3); selective copying, noisy recall and memorisation from Poli et al. 2024 (MAD, arXiv 2403.17844,
section 3), generated here from the papers' descriptions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from genesys_engine.gab.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Tokens = NDArray[np.int64]

IGNORED = -100
"""The target of a place that is not scored; PyTorch's cross entropy leaves it out."""


@dataclass(frozen=True)
class Items:
    """`inputs` (rows, length), tokens below the task's vocabulary; `targets` of the same shape."""

    inputs: Tokens
    targets: Tokens


class SkillTask(Protocol):
    """One task at one size; `chance` is the accuracy of the best guess without any skill."""

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""

    @property
    def length(self) -> int:
        """Tokens of an item."""

    @property
    def chance(self) -> float:
        """Accuracy of guessing among the tokens that can be right."""

    def draw(self, rng: np.random.Generator, rows: int) -> Items:
        """Return `rows` new items."""


@dataclass(frozen=True)
class MultiQueryRecall:
    """`mqar`: pairs of key and value come first, then each key again: what was its value?

    Queries come behind the pairs, at even distances that follow a power law: most keys are asked
    again soon (Arora et al. 2023, section 3.1).  All other places hold random tokens.
    """

    pairs: int
    length: int
    vocabulary: int
    power: float = 0.01

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            InputError: the queries do not fit, or there are not as many keys.
        """
        if 4 * self.pairs > self.length:  # two for a pair, two from query to query
            raise InputError(
                f"{self.pairs} pairs and their queries need {4 * self.pairs} tokens, not"
                f" {self.length}",
                hint="give fewer pairs or longer items",
            )
        if self.pairs > self.vocabulary // 2 - 1:
            raise InputError(
                f"{self.pairs} pairs need a vocabulary of {2 * self.pairs + 2}, not"
                f" {self.vocabulary}",
                hint="give fewer pairs or more tokens",
            )

    @property
    def chance(self) -> float:
        """One of the values that stand in the item."""
        return 1 / self.pairs

    def draw(self, rng: np.random.Generator, rows: int) -> Items:
        """Return `rows` new items."""
        import numpy as np

        half, start = self.vocabulary // 2, 2 * self.pairs
        keys = 1 + _distinct(rng, rows, half - 1, self.pairs)
        values = half + _distinct(rng, rows, self.vocabulary - half, self.pairs)
        inputs = rng.integers(0, self.vocabulary, (rows, self.length))
        inputs[:, 0:start:2], inputs[:, 1:start:2] = keys, values
        gaps = np.arange(1, (self.length - start) // 2 + 1)
        # The largest of log-weights with Gumbel noise are a draw without replacement.
        weights = (self.power - 1) * np.log(gaps) + rng.gumbel(size=(rows, len(gaps)))
        places = start + 2 * np.argsort(-weights, axis=1)[:, : self.pairs]
        targets = np.full_like(inputs, IGNORED)
        np.put_along_axis(inputs, places, keys, axis=1)
        np.put_along_axis(targets, places, values, axis=1)
        return Items(inputs, targets)


@dataclass(frozen=True)
class SelectiveCopying:
    """`copying`: a few tokens lie scattered among blanks; behind a mark they are written in order.

    Token 0 is the blank, token 1 the mark, which stands wherever a token is to be written (Poli et
    al. 2024, section 3.1).
    """

    tokens: int
    length: int
    vocabulary: int

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            InputError: the tokens do not fit, or there is but one to choose.
        """
        if 2 * self.tokens + 1 > self.length:
            raise InputError(
                f"to copy {self.tokens} tokens takes {2 * self.tokens + 1}, not {self.length}",
                hint="copy fewer tokens or give longer items",
            )
        if self.vocabulary < 4:
            raise InputError(
                f"copying needs a vocabulary of at least 4, not {self.vocabulary}",
                hint="two tokens are the blank and the mark",
            )

    @property
    def chance(self) -> float:
        """Any token but the blank and the mark."""
        return 1 / (self.vocabulary - 2)

    def draw(self, rng: np.random.Generator, rows: int) -> Items:
        """Return `rows` new items."""
        import numpy as np

        body = self.length - self.tokens
        places = np.sort(_distinct(rng, rows, body, self.tokens), axis=1)
        copied = rng.integers(2, self.vocabulary, (rows, self.tokens))
        inputs = np.zeros((rows, self.length), dtype=np.int64)
        np.put_along_axis(inputs, places, copied, axis=1)
        inputs[:, body:] = 1
        targets = np.full_like(inputs, IGNORED)
        targets[:, body:] = copied
        return Items(inputs, targets)


@dataclass(frozen=True)
class NoisyRecall:
    """`recall_noisy`: keys and values alternate, every item has its own table, noise lies between.

    A key that came before is followed by the same value.  A share `noise` of the pairs is replaced
    by tokens of a vocabulary of their own (Poli et al. 2024, section 3.1).
    """

    length: int
    keys: int
    noise_tokens: int
    noise: float = 0.2

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            InputError: no key can come twice.
        """
        if self.keys < 2 or self.length // 2 <= self.keys:
            raise InputError(
                f"{self.length} tokens hold no {self.keys} keys twice",
                hint="give at least 2 keys and more than twice as many tokens",
            )

    @property
    def vocabulary(self) -> int:
        """Keys, as many values, and noise."""
        return 2 * self.keys + self.noise_tokens

    @property
    def chance(self) -> float:
        """Any value."""
        return 1 / self.keys

    def draw(self, rng: np.random.Generator, rows: int) -> Items:
        """Return `rows` new items."""
        import numpy as np

        pairs = self.length // 2
        table = self.keys + rng.integers(0, self.keys, (rows, self.keys))
        keys = rng.integers(0, self.keys, (rows, pairs))
        values = np.take_along_axis(table, keys, axis=1)
        noisy = rng.random((rows, pairs)) < self.noise
        noise = 2 * self.keys + rng.integers(0, max(1, self.noise_tokens), (rows, pairs, 2))
        noisy &= self.noise_tokens > 0
        inputs = np.zeros((rows, self.length), dtype=np.int64)
        both = np.where(noisy[..., None], noise, np.stack([keys, values], axis=-1))
        inputs[:, : 2 * pairs] = both.reshape(rows, -1)
        targets = np.full_like(inputs, IGNORED)
        known = _came_before(keys, noisy, self.keys) & ~noisy
        targets[:, 0 : 2 * pairs : 2] = np.where(known, values, IGNORED)
        return Items(inputs, targets)


@dataclass(frozen=True)
class Memorisation:
    """`memorise`: each key has one value in all items, which only training can have shown.

    Keys alternate with token 0, at whose place the value is asked, so that the key has to be
    carried one place on (Poli et al. 2024, section 3.1).
    """

    length: int
    keys: int
    values: int
    table_seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            InputError: no pair fits, or there is nothing to choose from.
        """
        if self.length < 2 or self.keys < 1 or self.values < 2:
            raise InputError(
                f"there is nothing to memorise in {self.length} tokens with {self.keys} keys and"
                f" {self.values} values",
                hint="give at least 2 tokens, 1 key and 2 values",
            )

    @property
    def vocabulary(self) -> int:
        """The asking token, keys and values."""
        return 1 + self.keys + self.values

    @property
    def chance(self) -> float:
        """Any value."""
        return 1 / self.values

    def draw(self, rng: np.random.Generator, rows: int) -> Items:
        """Return `rows` new items."""
        import numpy as np

        table = np.random.default_rng(self.table_seed).integers(0, self.values, self.keys)
        keys = rng.integers(0, self.keys, (rows, self.length // 2))
        inputs = np.zeros((rows, self.length), dtype=np.int64)
        inputs[:, 0 : 2 * keys.shape[1] : 2] = 1 + keys
        targets = np.full_like(inputs, IGNORED)
        targets[:, 1 : 2 * keys.shape[1] : 2] = 1 + self.keys + table[keys]
        return Items(inputs, targets)


TASKS: dict[str, Callable[..., SkillTask]] = {
    "mqar": MultiQueryRecall,
    "copying": SelectiveCopying,
    "recall_noisy": NoisyRecall,
    "memorise": Memorisation,
}
"""The task of each skill."""


def _distinct(rng: np.random.Generator, rows: int, below: int, count: int) -> Tokens:
    """Return (rows, count) numbers from 0 to `below`, none twice in a row."""
    import numpy as np

    drawn: Tokens = np.argsort(rng.random((rows, below)), axis=1)[:, :count]
    return drawn


def _came_before(keys: Tokens, noisy: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Tell for each pair (rows, pairs) whether its key stands in an earlier one without noise."""
    import numpy as np

    one_hot = (keys[..., None] == np.arange(count)) & ~noisy[..., None]
    earlier = one_hot.cumsum(axis=1) - one_hot
    found: NDArray[np.bool_] = np.take_along_axis(earlier, keys[..., None], axis=2)[..., 0] > 0
    return found
