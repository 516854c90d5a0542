"""The picture of a discovery: every fresh training of it and of its rivals, as one SVG.

    python experiments/bench/discovery_picture.py FOLDER PICTURE.svg [--label NAME=TEXT]

FOLDER is one of `discovery_race.py`.  A row for each design, a panel for each kind of comparison
(equal tokens, equal CPU seconds), a dot for each training, a bar for their mean.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import fmean

from discovery_race import EQUAL, ordered_scores
from fidelity_records import read_records

from genesys_engine.gab.errors import GenesysError, InputError

WIDTH, LABELS, ROW, TOP = 740, 170, 30, 58
PANEL = (WIDTH - LABELS - 60) // 2
STYLE = """
text{font:14px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#1f2937}
.s{font-size:12px;fill:#4b5563}.h{font-weight:600}.g{stroke:#e5e7eb}
.d{fill:#64748b;fill-opacity:.6}.m{stroke:#334155;stroke-width:3}
.w .d{fill:#4f46e5}.w .m{stroke:#3730a3}
"""


@dataclass(frozen=True)
class Panel:
    """One comparison: its title, its left edge in pixels, and bits per byte by design."""

    title: str
    left: float
    scores: Mapping[str, Sequence[float]]

    @property
    def ends(self) -> tuple[float, float]:
        """The bits per byte at its edges, a little more than what it shows."""
        shown = [score for scores in self.scores.values() for score in scores]
        margin = 0.06 * (max(shown) - min(shown) or 1.0)
        return min(shown) - margin, max(shown) + margin

    def x(self, score: float) -> float:
        """Return where a score is, in pixels."""
        low, high = self.ends
        return self.left + PANEL * (score - low) / (high - low)

    def ticks(self) -> list[float]:
        """Return three to six round numbers within the ends."""
        low, high = self.ends
        step = next(each for each in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if (high - low) / each < 6)
        first = int(low / step) + 1
        return [step * n for n in range(first, int(high / step) + 1)]


def panel_lines(panel: Panel, names: Sequence[str]) -> list[str]:
    """Draw a panel: its grid, then a row for each design that it has."""
    bottom = TOP + ROW * len(names)
    lines = [f'<text class="h" x="{panel.left}" y="26">{escape(panel.title)}</text>']
    for tick in panel.ticks():
        x = panel.x(tick)
        lines.append(f'<path class="g" d="M{x:.1f},{TOP - 12} V{bottom - 8}"/>')
        lines.append(
            f'<text class="s" x="{x:.1f}" y="{bottom + 10}" text-anchor="middle">{tick:.2f}</text>'
        )
    for row, name in enumerate(names):
        y = TOP + ROW * row
        lines.append(f'<g class="{"w" if row == 0 else "r"}">')
        for score in panel.scores.get(name, ()):
            lines.append(f'<circle class="d" cx="{panel.x(score):.1f}" cy="{y}" r="5"/>')
        if scores := panel.scores.get(name):
            lines.append(f'<path class="m" d="M{panel.x(fmean(scores)):.1f},{y - 9} v18"/>')
        lines.append("</g>")
    return lines


def picture(panels: Sequence[Panel], labels: Mapping[str, str], title: str) -> str:
    """Return the SVG: the discovery first, then its rivals from the best to the worst.

    Args:
        labels: what designs are called, by name; the others have their names.
    """
    first, *others = panels[0].scores
    names = [first, *sorted(others, key=lambda name: fmean(panels[0].scores[name]))]
    height = TOP + ROW * len(names) + 42
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
    ]
    for row, shown in enumerate(labels.get(name, name) for name in names):
        weight = ' class="h"' if row == 0 else ""
        lines.append(f'<text{weight} x="16" y="{TOP + ROW * row + 5}">{escape(shown)}</text>')
    for panel in panels:
        lines += panel_lines(panel, names)
    caption = (
        "bits per byte of held-out text, less is better; a dot is one training, a bar the mean"
    )
    lines.append(f'<text class="s" x="16" y="{height - 12}">{caption}</text>\n</svg>\n')
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the records of a folder and write its picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--scale", default="1M")
    parser.add_argument("--label", nargs="+", default=[], metavar="NAME=TEXT")
    options = parser.parse_args(arguments)
    try:
        panels: list[Panel] = []
        for equal in EQUAL:
            records = read_records(options.folder / f"{equal}.jsonl")
            own = [each for each in records if each.recipe.scale == options.scale]
            if own:
                scores = {name: list(by.values()) for name, by in ordered_scores(own).items()}
                left = LABELS + len(panels) * (PANEL + 40)
                title = f"equal {'CPU seconds' if equal == 'seconds' else equal}"
                panels.append(Panel(title, left, scores))
        if not panels:
            hint = "run `discovery_race.py record` first"
            raise InputError(f"nothing was recorded at {options.scale}", hint=hint)
        labels = {name: text for name, _, text in (each.partition("=") for each in options.label)}
        first = next(iter(panels[0].scores))
        title = f"{labels.get(first, first)} and its rivals at {options.scale}"
        options.picture.write_text(picture(panels, labels, title), encoding="utf-8")
    except GenesysError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
