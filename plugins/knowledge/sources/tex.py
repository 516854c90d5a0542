"""Texts of a bibliography without TeX: typeset text and plain data.

Titles, names and abstracts may hold TeX (accents, dashes, braces, formulas).  But who writes them
is an exporter or a person who pastes an abstract, and no TeX runs over them: a per cent sign begins
no comment there, an ampersand no column, and a command that is unknown is no reason to lose a word.
Addresses and identifiers are data; some exporters escape a few signs in them.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pylatexenc.latex2text import LatexNodes2Text

# A sign that is active in TeX, not behind a backslash (two of which are a line break).
_ACTIVE = re.compile(r"(?<!\\)((?:\\\\)*)([%&#])")
# A tilde is a space only where it ties two words: "~40 ms" means about 40 ms.
_TIE = re.compile(r"(?<=[^\s~\\])~(?=[^\s~])")
TILDE = r"\textasciitilde{}"
_ADDRESS = re.compile(r"https?://[^\s{}]+")
_TILDE = re.compile(r"(?<!\\)~")
_ESCAPED = re.compile(r"\{?\\(?:textasciitilde|~)(?:\{\})?\}?|\{\\([_%&#$])\}|\\([_%&#${}])")
_BARE_ACCENT = re.compile(r"\\([~^])\s*\{\s*\}")
BARE_ACCENTS = {"~": TILDE, "^": r"\textasciicircum{}"}
"""Accents on nothing, as some exporters write the signs."""
_LINK = re.compile(r"\\href\s*\{[^{}]*\}")  # what it shows stays
_URL = re.compile(r"\s*\\url\s*\{(.*)\}\s*", re.S)
_BROKEN_LINE = re.compile(r"\s*\n\s*")

SIGNS = {
    "textless": "<",
    "textgreater": ">",
    "textbar": "|",
    "textasciicircum": "^",
    "textunderscore": "_",
    "textquotedbl": '"',
    "textquotesingle": "'",
    "textdegree": "\u00b0",
    "texttimes": "\u00d7",
    "TeX": "TeX",
    "LaTeX": "LaTeX",
    "BibTeX": "BibTeX",
}
"""Commands that exporters write for single signs, next to those that pylatexenc knows."""

FONTS = (
    *("em", "it", "bf", "sc", "tt", "sl", "rm", "sf", "bfseries", "itshape", "scshape", "slshape"),
    *("ttfamily", "sffamily", "rmfamily", "mdseries", "upshape", "normalfont", "small", "relax"),
)
"""Commands that change how the following is set, and say nothing."""


def plain(text: str) -> str:
    """Return the text that TeX would typeset, formulas as they are, spaces as single ones."""
    if re.search(r"[\\{}$~%&#]|``|''|--", text):
        text = _ADDRESS.sub(lambda found: found[0].replace("~", TILDE), text)
        text = _TILDE.sub(lambda _: TILDE, _TIE.sub(" ", text))
        text = _BARE_ACCENT.sub(lambda found: BARE_ACCENTS[found[1]], _LINK.sub("", text))
        text = _decoder().latex_to_text(_ACTIVE.sub(r"\1\\\2", text))
    return " ".join(text.split())


def paragraphs(text: str) -> str:
    """Return the same of a text with paragraphs, which stay apart."""
    return "\n\n".join(filter(None, (plain(part) for part in re.split(r"\n\s*\n", text))))


def verbatim(text: str) -> str:
    r"""Return data as it is, less the braces and backslashes that an exporter put around a sign."""
    found = _URL.fullmatch(text)
    text = _BROKEN_LINE.sub("", found[1] if found else text).strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    return _ESCAPED.sub(lambda match: match[1] or match[2] or "~", text)


@cache
def _decoder() -> LatexNodes2Text:
    from pylatexenc.latex2text import (
        LatexNodes2Text,
        MacroTextSpec,
        get_default_latex_context_db,
    )

    class Decoder(LatexNodes2Text):  # type: ignore[misc]
        """TeX drops the space behind a command; behind a word's name a person means one."""

        def macro_node_to_text(self, node: Any) -> str:
            text = str(super().macro_node_to_text(node))
            return f"{text} " if node.macro_post_space and len(node.macroname) > 2 else text

    def source(node: Any) -> str:
        """Return an unknown command as written, separated from the following text."""
        return f"{node.latex_verbatim()} "

    known = get_default_latex_context_db()
    macros = [MacroTextSpec(name, sign) for name, sign in SIGNS.items()]
    macros += [MacroTextSpec(name, "") for name in FONTS]
    macros += [MacroTextSpec("url", "%s")]
    known.add_context_category("bibliographies", prepend=True, macros=macros)
    known.set_unknown_macro_spec(MacroTextSpec("", source))
    return Decoder(latex_context=known, math_mode="verbatim", keep_braced_groups=False)
