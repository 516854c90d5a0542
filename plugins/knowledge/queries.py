"""A query is the user's text: words, and phrases where it holds quotation marks.

Nothing else in it has a meaning, whatever the index or a service would make of a plus, a colon or
a lone quotation mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

PHRASE = re.compile('"([^"]*)"|\u201c([^\u201d]*)\u201d|\u00ab([^\u00bb]*)\u00bb')
WORD = re.compile(r"[^\W_]+")
MOST_WORDS = 64
"""Of a phrase, and phrases of a query: far more than anybody types, and bounds the condition."""


@dataclass(frozen=True)
class Query:
    """A query: its `text`, and the phrases in it as lists of words."""

    text: str
    phrases: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def read(cls, text: str) -> Query:
        """Return what a text asks; a phrase without words is none."""
        found = (tuple(WORD.findall("".join(match)))[:MOST_WORDS] for match in PHRASE.findall(text))
        return cls(text, tuple(dict.fromkeys(filter(None, found)))[:MOST_WORDS])

    def words(self) -> list[str]:
        """Return all its words in order, those of phrases too."""
        return WORD.findall(self.text)

    def terms(self) -> Iterator[tuple[str, ...]]:
        """Yield its phrases and its other words in order, each as words."""
        last = 0
        for match in PHRASE.finditer(self.text):
            yield from ((word,) for word in WORD.findall(self.text[last : match.start()]))
            yield tuple(WORD.findall(match[0]))
            last = match.end()
        yield from ((word,) for word in WORD.findall(self.text[last:]))

    def conditions(self, column: str) -> Iterator[str | None]:
        """Yield SQL conditions from the strictest on: all phrases, one of them, and None: nothing.

        The words of a phrase stand behind each other, with spaces or signs between them.
        """
        each = [f"regexp_like({column}, '{_pattern(phrase)}')" for phrase in self.phrases]
        yield from dict.fromkeys(f"({joint.join(each)})" for joint in (" AND ", " OR ") if each)
        yield None


def _pattern(phrase: tuple[str, ...]) -> str:
    """Return a regular expression for a phrase; words hold letters and digits alone."""
    between = r"[\W_]+"
    return rf"(?i)\b{between.join(phrase)}\b"
