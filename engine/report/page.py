"""Puts the sections together to one self-contained page."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from genesys_engine.engine.common.disk import write_whole
from genesys_engine.engine.common.steps import EVERY_S, Steps
from genesys_engine.engine.report.sections import summary
from genesys_engine.engine.report.templates import HERE, render
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views.reading import ReadOnce

Section = Callable[[Store], tuple[str, str]]
"""From a store to (title as plain text, HTML); one without HTML is left out.

Texts of a run must be escaped by the section; scripts do not run (content security policy): draw
with `figure`."""

Say = Callable[[str], None]

KIND = "report_section"

ORDER = (
    "tree", "fitness", "leaderboard", "cost", "finals", "rungs", "best", "parts", "designs",
    "operators", "curves", "quadrants", "failures", "llm", "time", "reproduce",
)  # fmt: skip
"""The built-in sections; those of plugins follow, by name."""

FILE = "report.html"


def write_report(
    store: Store,
    path: Path | None = None,
    *,
    sections: Mapping[str, Section] | None = None,
    say: Say = lambda line: None,
) -> Path:
    """Write the page, complete or not at all, and return its path.

    Args:
        path: where to; `report.html` in the folder of the run by default.
        sections: what to show, by name; by default all that plugins registered.
        say: gets a line at once, and more where the page takes long.
    """
    target = store.folder / FILE if path is None else path
    say(f"writing the report: {target}")
    page = render_report(store, sections=sections, say=say)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Of the run, for its owner alone; elsewhere whoever asked decides.
    write_whole(target, page, private=path is None)
    return target


def render_report(
    store: Store,
    *,
    sections: Mapping[str, Section] | None = None,
    say: Say = lambda line: None,
) -> str:
    """Return the page as text; see `write_report`."""
    from plotly.offline import get_plotlyjs

    store = ReadOnce(store)
    chosen = registered_sections(store) if sections is None else sections
    steps, rendered = Steps(say, len(chosen), every_s=EVERY_S), []
    for name, section in chosen.items():
        steps.next("writing the report", name)
        rendered.append(_guarded(name, section, store))
    scripts = [get_plotlyjs(), asset("colours.js"), asset("report.js")]
    return render(
        "page",
        name=store.meta("name"),
        summary=summary(store),
        sections=[(_anchor(title), title, body) for title, body in rendered if body],
        css=asset("report.css"),
        scripts=scripts,
        hashes=" ".join(f"'sha256-{script_hash(script)}'" for script in scripts),
    )


def registered_sections(store: Store) -> dict[str, Section]:
    """Return the sections of the plugins that the experiment does not disable, in order."""
    from genesys_engine.plugins.host import PluginHost

    plugins = store.meta("experiment")["plugins"]
    registry = PluginHost(plugins["disable"], plugins.get("local", ())).registry
    names = sorted(registry.names(KIND), key=lambda name: (_place(name), name))
    return {name: _section(registry.get(KIND, name).target) for name in names}


def _section(target: str) -> Section:
    """Return the section that `target` names: a function, or a class whose instance is called."""

    def call(store: Store) -> tuple[str, str]:
        from genesys_engine.plugins.targets import load_target

        found = load_target(target)
        title, body = (found() if isinstance(found, type) else found)(store)
        return str(title), str(body)

    return call


def _place(name: str) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER)


def _guarded(name: str, section: Section, store: Store) -> tuple[str, str]:
    """Return a section, or what a plugin's one raised: it must not cost the report of a run."""
    try:
        return section(store)
    except Exception as error:
        if name in ORDER:
            raise
        reason = html.escape(f"{type(error).__name__}: {error}")
        return name, f'<p class="note">This section failed: {reason}</p>'


def asset(name: str) -> str:
    """Return a file that lies next to the templates."""
    return (HERE / name).read_text(encoding="utf-8")


def script_hash(script: str) -> str:
    """Return what a content security policy calls the hash of an inline script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
