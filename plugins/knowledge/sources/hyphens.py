"""Words that a typesetter divided at the ends of lines, put together again.

A hyphen at the end of a line may be a word's own ("self-attention") or the typesetter's.  The text
itself is the evidence: how the word is written where no line ends.  A soft hyphen tells nothing:
Typst, for one, writes every hyphen of a PDF as one, in the middle of a line too.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

SOFT = "\u00ad"
_LETTER = r"[^\W\d_]"
_HYPHEN = f"[-\u2010{SOFT}]"
_DIVIDED = re.compile(rf"(\w+){_HYPHEN}[ \t]*\n\s*(?=(\w+))")
_SOFT_WITHIN = re.compile(rf"(\w+){SOFT}(?=(\w+))")
_WORD = re.compile(rf"{_LETTER}+")
_COMPOUND = re.compile(rf"(?=\b({_LETTER}+)[-\u2010\u2011]({_LETTER}+))")

OWN = frozenset({"self", "well"})
"""Words that keep their hyphen before another one, where the text says nothing else."""
LEAST = 4  # letters of that other one: not "selfish"


def rejoin(text: str) -> str:
    """Return a text without words divided at line ends and without soft hyphens."""
    known = _Vocabulary.of(text)
    text = _DIVIDED.sub(lambda found: found[1] + known.joint(found[1], found[2]), text)
    # Behind the end of a line the second part of a word may begin a third.
    text = _DIVIDED.sub(lambda found: found[1] + known.joint(found[1], found[2]), text)
    text = _SOFT_WITHIN.sub(lambda found: found[1] + known.painted(found[1], found[2]), text)
    return text.replace(SOFT, "")


@dataclass(frozen=True)
class _Vocabulary:
    """How often words, and pairs of words with a hyphen, stand where no line divides them."""

    words: Counter[str]
    compounds: Counter[tuple[str, str]]

    @classmethod
    def of(cls, text: str) -> _Vocabulary:
        whole = re.sub(rf"\w+{_HYPHEN}[ \t]*\n\s*\w+", " ", text.lower())
        compounds = Counter((found[1], found[2]) for found in _COMPOUND.finditer(whole))
        plain = whole.replace(SOFT, "-")
        return cls(Counter(_WORD.findall(plain)), compounds)

    def joint(self, first: str, second: str) -> str:
        """Return what joins the parts of a word split at a line's end: a hyphen or nothing."""
        if not second[0].islower() or not _is_word(first):
            return "-"  # GPT-2, KV-cache, Mamba-Based
        pair = (first.lower(), second.lower())
        as_one, as_two = self.words["".join(pair)], self.compounds[pair]
        if as_one or as_two:
            return "" if as_one >= as_two else "-"
        own = (pair[0] in OWN and len(pair[1]) >= LEAST) or all(map(self._has, pair))
        return "-" if own else ""

    def painted(self, first: str, second: str) -> str:
        """Return what a soft hyphen within a line is: it is painted there, so a hyphen.

        Unless the text has the word without one.
        """
        return "" if self.words[(first + second).lower()] else "-"

    def _has(self, word: str) -> bool:
        """Tell whether the text has a word by itself, in the singular or the plural."""
        return any(self.words[form] for form in (word, f"{word}s", word.removesuffix("s")))


def _is_word(text: str) -> bool:
    """Tell whether a text is a word of letters, and no abbreviation in capitals."""
    return text.isalpha() and (text.islower() or text[1:].islower() or len(text) == 1)
