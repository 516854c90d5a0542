"""Python source as coloured HTML; it is text here and never runs."""

from __future__ import annotations


def python_tokens(source: str) -> list[tuple[str, str]]:
    """Return `source` as pairs of a class of Pygments ("" for none) and a text, in order."""
    from pygments.lexers import PythonLexer
    from pygments.token import STANDARD_TYPES

    return [
        (STANDARD_TYPES.get(kind, ""), text)
        for kind, text in PythonLexer(stripnl=False).get_tokens(source)
    ]


def python_html(source: str) -> str:
    """Return `source`, escaped, with the classes of Pygments."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return str(highlight(source, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)))
