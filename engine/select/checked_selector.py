"""A selector whose choices are held to what it promises, before anything follows from them."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable
from typing import Any

from genesys_engine.gab.errors import PluginError
from genesys_engine.plugins.api import Candidates, Selector


class CheckedSelector:
    """Asks the selector called `name`; every method raises `PluginError` where it is at fault."""

    def __init__(self, selector: Selector, name: str) -> None:
        self._selector = selector
        self._name = name

    def parents(self, candidates: Candidates, count: int, rng: random.Random) -> list[int]:
        """Return the positions of `count` distinct candidates to vary, or of all if fewer."""
        wanted = min(count, len(candidates))
        asked = self._selector.parents
        return self._positions("parents", wanted, candidates, lambda: asked(candidates, count, rng))

    def promote(self, candidates: Candidates, rng: random.Random) -> int:
        """Return the position of the candidate to verify at its next rung."""
        asked = self._selector.promote
        return self._positions("promote", 1, candidates, lambda: [asked(candidates, rng)])[0]

    def survivors(self, candidates: Candidates, count: int) -> list[int]:
        """Return the positions of the `count` candidates that form the next population."""
        wanted = min(count, len(candidates))
        asked = self._selector.survivors
        return self._positions("survivors", wanted, candidates, lambda: asked(candidates, count))

    def _positions(
        self, method: str, wanted: int, candidates: Candidates, ask: Callable[[], Any]
    ) -> list[int]:
        """Return `wanted` distinct positions of candidates."""
        try:
            answer = ask()
        except Exception as error:
            raise self._fault(f"{method} raised {type(error).__name__}: {error}") from error
        try:
            positions = [operator.index(position) for position in answer]
        except TypeError as error:
            raise self._fault(f"{method} must return positions, not {answer!r:.60}") from error
        if len(positions) != wanted or len(set(positions)) != wanted:
            raise self._fault(
                f"{method} must return {wanted} distinct positions, not {positions!r:.60}"
            )
        if any(not 0 <= position < len(candidates) for position in positions):
            raise self._fault(
                f"{method} must return positions below {len(candidates)}, not {positions!r:.60}"
            )
        return positions

    def _fault(self, message: str) -> PluginError:
        return PluginError(
            message,
            where=f"selector {self._name}",
            hint="the run needs its selector: fix or update the plugin and resume, or start"
            " another run with another one",
        )
