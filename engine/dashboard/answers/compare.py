"""Designs of one or several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genesys_engine.engine.dashboard.answers.design import changed_lines
from genesys_engine.engine.dashboard.answers.designs import drawing
from genesys_engine.engine.dashboard.catalogue import Catalogue, Entry
from genesys_engine.engine.dashboard.watch import Moment
from genesys_engine.engine.report import charts
from genesys_engine.engine.store.names import scale_names
from genesys_engine.engine.views.details import composed_source, design_details
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.tree import GABTree

MOST = 8


@dataclass(frozen=True)
class Chosen:
    """A design of a run, as an address names it: `run:design`."""

    entry: Entry
    design: int


def chosen(catalogue: Catalogue, text: str) -> list[Chosen]:
    """Return the designs of `run:design,run:design`.

    Raises:
        InputError: it names none, too many, or one that is not there.
    """
    found = []
    for part in text.split(","):
        run, _, design = part.rpartition(":")
        if not design.isdecimal() or len(design) > 9:
            raise InputError(
                f"{part!r} names no design", hint="choose designs on the leaderboard of a run"
            )
        found.append(Chosen(catalogue.run(run), int(design)))
    if len(found) > MOST:
        raise InputError(f"at most {MOST} designs can be compared at once")
    return found


def side_by_side(designs: Sequence[Chosen]) -> dict[str, object]:
    """Return the designs with their scores and hyper-parameters, and their curves on one axis."""
    columns, curves = list[dict[str, object]](), dict[str, dict[str, charts.Curve]]()
    trees = list[GABTree]()
    several = len({each.entry.key for each in designs}) > 1
    for each in designs:
        with each.entry.watch.moment() as moment:
            column = _column(each, moment)
            label = f"{each.entry.key} {column['label']}" if several else str(column["label"])
            columns.append(column)
            trees.append(GABTree.from_json(moment.tree(each.design)))
            for scale, curve in _curves(moment, each.design):
                curves.setdefault(scale, {})[label] = curve
    for column, values in zip(columns, unit_values(trees), strict=True):
        column["values"] = values
    return {
        "designs": columns,
        "figures": [
            drawing(charts.curves_figure(scale, found, [])) for scale, found in curves.items()
        ],
    }


def _column(each: Chosen, moment: Moment) -> dict[str, object]:
    found = design_details(moment, each.design)
    return {
        "run": each.entry.key,
        "run_name": moment.run.name,
        "design": each.design,
        "label": found.label,
        "change": found.row.change,
        "operator": found.row.operator,
        "reference": found.reference,
        "tree": found.tree,
        "result": None if found.result is None else found.result.to_json(),
    }


def unit_values(trees: Sequence[GABTree]) -> list[dict[str, str]]:
    """Return the unit and the hyper-parameters at each place of each tree, by path; units of one
    name with other code are told apart by the beginning of their digest."""
    versions: dict[str, set[str]] = {}
    for tree in trees:
        for unit in tree.units():
            versions.setdefault(unit.name, set()).add(unit.digest)
    found = []
    for tree in trees:
        values: dict[str, str] = {}
        for path, node in ((place.path, place.node) for place in tree.places()):
            several = len(versions[node.name]) > 1
            values[path] = f"{node.name} ({node.unit.digest[:8]})" if several else node.name
            values |= {f"{path}.{name}": repr(value) for name, value in node.values.items()}
        found.append(values)
    return found


def _curves(moment: Moment, design: int) -> list[tuple[str, charts.Curve]]:
    """Return (scale, curve) of the first training at each rung."""
    scales = scale_names(moment)
    rows = [row for row in moment.verifications(design) if row.replicate == 0]
    return [(scales[row.rung], c) for row in rows if (c := moment.curves.read(row.id))]


def code_difference(first: Chosen, second: Chosen) -> dict[str, object]:
    """Return the lines in which the code of two designs differs."""
    sources = []
    for each in (first, second):
        with each.entry.watch.moment() as moment:
            sources.append(composed_source(moment, each.design).splitlines())
    return {"lines": changed_lines(*sources)}
