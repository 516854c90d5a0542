"""Python source as coloured HTML; it is text here and never runs."""

from __future__ import annotations


def python_html(source: str) -> str:
    """Return `source`, escaped, with the classes of Pygments."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return str(highlight(source, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)))
