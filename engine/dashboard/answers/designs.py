"""All designs of a run: the evolution tree, the leaderboard, the figures, the failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from genesys_engine.engine.common.records import plain
from genesys_engine.engine.dashboard.watch import Moment
from genesys_engine.engine.report import charts
from genesys_engine.engine.report.figures import Figure
from genesys_engine.engine.report.pareto_chart import pareto_figure
from genesys_engine.engine.score.noise_floor import noise_floor
from genesys_engine.engine.score.significance import SIGMAS
from genesys_engine.engine.store.names import design_names, scale_names, seed_name
from genesys_engine.engine.store.run_store import DesignRow
from genesys_engine.engine.views.failures import failures
from genesys_engine.engine.views.history import history, thinned
from genesys_engine.engine.views.leaderboard import leaderboard_rows, metric_names
from genesys_engine.engine.views.lineage import Node, lineage
from genesys_engine.engine.views.llm import llm_view
from genesys_engine.engine.views.metrics import FITNESS, Axis, MetricTable, metric_table
from genesys_engine.engine.views.operators import operators
from genesys_engine.engine.views.timing import timing
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.registry import suggest

MOST_ROWS = 200
ACCEPTED, REJECTED, DISQUALIFIED = 0, 1, 2


def tree(moment: Moment) -> dict[str, object]:
    """Return the evolution tree as parallel columns, which are small for thousands of designs."""
    drawn = lineage(moment)
    nodes, best = drawn.nodes, moment.run.best
    verified = [node.fitness for node in nodes if node.fitness is not None]
    sigma = noise_floor(moment).sigmas[0] or 0.0
    return {
        "design": [node.design for node in nodes],
        "x": [node.x for node in nodes],
        "y": [round(node.y, 2) for node in nodes],
        "parents": [list(node.parents) for node in nodes],
        "fitness": [None if node.fitness is None else round(node.fitness, 3) for node in nodes],
        "rung": [node.rung for node in nodes],
        "state": [_state(node) for node in nodes],
        "names": {node.design: node.label for node in nodes if node.label[0] != "#"},
        "lines": drawn.lines,
        "generations": drawn.generations,
        "best": None if best is None else best.design,
        "limit": max(SIGMAS * sigma, max(verified, default=0.0), 0.1),
    }


def _state(node: Node) -> int:
    if node.disqualified:
        return DISQUALIFIED
    return ACCEPTED if node.accepted else REJECTED


def brief(moment: Moment, design: int) -> dict[str, object]:
    """Return what the tree says of a design that is chosen in it."""
    row = moment.design(design)
    return {
        "design": row.id,
        "label": moment.run.label(row.id),
        "accepted": row.accepted,
        "disqualified": moment.disqualification(design),
        "operator": row.operator,
        "change": row.change,
        "parents": [{"design": p, "label": moment.run.label(p)} for p in row.parents],
        "fitness": row.fitness,
        "rung": None if row.rung is None else scale_names(moment)[row.rung],
        "codes": list(dict.fromkeys(f.code for f in moment.report(design).findings)),
    }


# --- the leaderboard -------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """Which rows of the leaderboard are asked for, and in which order.

    `sort` is `rank`, `design` or the key of an axis; `words` must all stand in the name, the
    operator or the change; `rung` is a scale, `origin` is `seed` or `child`.
    """

    sort: str = "rank"
    descending: bool = False
    words: str = ""
    rung: str = ""
    origin: str = ""
    offset: int = 0
    limit: int = 50


def board(moment: Moment, asked: Asked) -> dict[str, object]:
    """Return a page of the leaderboard.

    Raises:
        InputError: there is no such column.
    """
    table, rows = moment.once(metric_table), moment.leaderboard()
    scales, names = scale_names(moment), moment.run.names
    kept = [i for i, row in enumerate(rows) if _matches(row, asked, scales, names)]
    _sort(kept, rows, table, asked)
    chosen = kept[asked.offset : asked.offset + min(asked.limit, MOST_ROWS)]
    shown = leaderboard_rows(moment, [rows[i] for i in chosen])
    return {
        "rows": [
            {"rank": i + 1, "label": row.label, **row.to_json()}
            for i, row in zip(chosen, shown, strict=True)
        ],
        "matching": len(kept),
        "total": len(rows),
        "offset": asked.offset,
        "metrics": metric_names(shown),
        "axes": [asdict(axis) for axis in table.axes],
        "rungs": list(scales),
    }


def _matches(row: DesignRow, asked: Asked, scales: Sequence[str], names: dict[int, str]) -> bool:
    if asked.rung and scales[row.rung or 0] != asked.rung:
        return False
    if asked.origin and (asked.origin == "seed") != (seed_name(row.operator) is not None):
        return False
    if not asked.words:
        return True
    text = f"{names.get(row.id, '')} #{row.id} {row.operator} {row.change}".lower()
    return all(word in text for word in asked.words.lower().split())


def _sort(kept: list[int], rows: Sequence[DesignRow], table: MetricTable, asked: Asked) -> None:
    """Sort positions; designs without the number stand last in either direction."""
    if asked.sort == "rank":
        if asked.descending:
            kept.reverse()
        return
    if asked.sort == "design":
        kept.sort(key=lambda i: rows[i].id, reverse=asked.descending)
        return
    column = table.values[axis_of(table, asked.sort).key]
    known = [(value, i) for i in kept if (value := column[i]) is not None]
    known.sort(key=lambda pair: pair[0], reverse=asked.descending)
    without = [i for i in kept if column[i] is None]
    kept[:] = [*(i for _, i in known), *without]


def axis_of(table: MetricTable, key: str) -> Axis:
    """Return the axis of a key.

    Raises:
        InputError: there is none.
    """
    for axis in table.axes:
        if axis.key == key:
            return axis
    hint = suggest(key, [axis.key for axis in table.axes])
    raise InputError(f"no number {key!r} is known of these designs", hint=hint)


# --- figures ---------------------------------------------------------------------------------


def fitness(moment: Moment) -> dict[str, object]:
    """Return the figure of the gains against the noise; without `content` before the first."""
    points = thinned(moment.once(history), charts.MOST_POINTS)
    wanted = {point.design for point in points}
    rows = leaderboard_rows(moment, [row for row in moment.leaderboard() if row.id in wanted])
    if not rows:
        return {}
    sigma = noise_floor(moment).sigmas[0]
    drawn = charts.fitness_figure(
        points,
        {row.design: row for row in rows},
        reference=moment.run.reference,
        scales=scale_names(moment),
        sigma=sigma,
    )
    return {**drawing(drawn), "sigma": sigma, "sigmas": SIGMAS, "scale": scale_names(moment)[0]}


def pareto(moment: Moment, x: str, y: str) -> dict[str, object]:
    """Return the figure of any two numbers, and which there are.

    Raises:
        InputError: there is no such number.
    """
    table = moment.once(metric_table)
    axes = [asdict(axis) for axis in table.axes]
    if not table.designs:
        return {"axes": axes}
    across, upward = axis_of(table, x or "flops"), axis_of(table, y or FITNESS)
    names, scales = moment.run.names, scale_names(moment)
    drawn = pareto_figure(table, across, upward, names=names, scales=scales)
    return {**drawing(drawn), "axes": axes, "x": across.key, "y": upward.key}


def drawing(figure: Figure) -> dict[str, object]:
    """Return what a page needs to draw a figure."""
    return asdict(figure.drawing)


# --- failures, language models, time -----------------------------------------------------------


def causes(moment: Moment) -> list[dict[str, object]]:
    """Return the failures by cause, each with a few of its designs."""
    found = moment.once(failures)
    return [{**each.to_json(), "designs": each.designs[-12:]} for each in found]


def language_models(moment: Moment) -> dict[str, object]:
    """Return the calls and the spend by role."""
    return llm_view(moment).to_json()


def work(moment: Moment) -> dict[str, object]:
    """Return where the time went, and what each operator's children gained."""
    return {
        "timing": timing(moment).to_json(),
        "operators": [plain(row) for row in operators(moment)],
        "names": design_names(moment.designs()),
    }
