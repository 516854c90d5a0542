"""The report of a run: one HTML page that needs nothing next to itself.

`write_report` puts together *sections*, functions from a store to a title and HTML.  The
built-in ones are of the same type as those that plugins register: `sections` picks what is shown,
`charts` draws it, the templates lay it out.  Everything that came out of a
run (changes, sources, reasons) is escaped, and a content security policy lets no script run but
the two that the page brings along.  May import `views` and what that may.
"""

from genesys_engine.engine.report.figures import figure
from genesys_engine.engine.report.page import Section, render_report, write_report

__all__ = ["Section", "figure", "render_report", "write_report"]
