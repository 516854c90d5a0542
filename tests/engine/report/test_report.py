"""The report: complete, self-contained, and safe against what a run may hold."""

import html
import json
import re
from html.parser import HTMLParser

import pytest
import tomli
from sample_run import EXPERIMENT, META, SCALES, SHAPE, make_run
from stored import design_report, score

from genesys_engine.engine.common.text import percent
from genesys_engine.engine.report import charts, figure, render_report, write_report
from genesys_engine.engine.report.cost_chart import AXES
from genesys_engine.engine.report.figures import hover
from genesys_engine.engine.report.page import ORDER, registered_sections
from genesys_engine.engine.report.sections import (
    cost,
    leaderboard_table,
    reproduce,
)
from genesys_engine.engine.score import noise_floor, standing
from genesys_engine.engine.score.noise import Noise
from genesys_engine.engine.store.event_types import (
    DesignAccepted,
    RungPlan,
    RunStarted,
    VerificationFailed,
    VerificationFinished,
)
from genesys_engine.engine.store.events import digest_events
from genesys_engine.engine.store.run_store import DesignRow, Store, VerificationRow
from genesys_engine.engine.views.history import Point, best_so_far, thinned
from genesys_engine.engine.views.leaderboard import leaderboard
from genesys_engine.engine.views.lineage import ancestry, foremost, lineage
from genesys_engine.engine.views.verdict import describe, verdict_view
from genesys_engine.gab import library
from genesys_engine.gab.tree import GABTree, grow
from genesys_engine.gab.unit import parse_unit

HOSTILE = "</script><script>alert('x')</script><img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Collects the elements, the scripts and the readable text of a page."""

    VOID = frozenset({"meta", "img", "link", "br", "input"})

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.scripts: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs).get("type") or "", ""))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            kind, text = self.scripts[-1]
            self.scripts[-1] = kind, text + data
        elif self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def figures(self) -> list[dict]:
        return [json.loads(text) for kind, text in self.scripts if kind == "application/json"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "sample")


@pytest.fixture(scope="module")
def source(folder):
    with Store.open(folder) as store:
        return render_report(store)


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


def test_every_section_is_there_and_linked(page):
    ids = {attrs["id"] for tag, attrs in page.elements if tag == "section"}
    links = {attrs["href"] for tag, attrs in page.elements if tag == "a"}
    # No finals were held, nothing was explained, no language model was asked.
    empty = {"finals", "what-each-part-gives", "language-models"}
    assert len(ids) == len(ORDER) - len(empty)
    assert not ids & empty
    assert {f"#{name}" for name in ids} <= links
    assert not page.open  # every element is closed


def test_nothing_is_loaded_from_anywhere(page, source):
    for tag, attrs in page.elements:
        assert "src" not in attrs, tag
        assert tag != "link"
        if tag == "a":
            assert attrs["href"].startswith("#")
    style = source[source.index("<style>") : source.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_only_the_three_scripts_of_the_page_may_run(page):
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert len(re.findall(r"'sha256-[^']+'", policy)) == 3
    assert "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.split("style-src")[0]
    assert sum(kind == "" for kind, _ in page.scripts) == 3


def test_plotly_is_embedded_once(source):
    assert source.count("plotly.js v") == 1
    assert len(source) < 7_000_000


def test_the_head_answers_against_the_parent_and_the_best_seed_first(folder, page, source):
    with Store.open(folder) as store:
        found = verdict_view(store)
    assert f"the best child is {found.child.label}" in page.text
    assert found.child.change in page.text
    chips = re.findall(r'<span class="chip [^"]*">([^<]*)</span>', source)
    assert [html.unescape(chip) for chip in chips] == [
        describe(c) for c in found.verdict.comparisons
    ]
    assert found.verdict.comparisons[0].roles[0] == "parent"
    head = page.text.split("Evolution tree")[0]
    places = [head.index(percent(c.difference)) for c in found.verdict.comparisons]
    assert places == sorted(places), "the parent comes before the reference"
    for remark in found.remarks:
        assert remark in head


@pytest.mark.parametrize(
    ("one", "word"), [(50.0, standing.NO_DIFFERENCE), (None, standing.NOT_MEASURED)]
)
def test_a_gain_within_the_noise_is_never_sold_as_one(tmp_path, monkeypatch, one, word):
    floor = noise_floor.NoiseFloor(0, (None if one is None else Noise(one, 3),) * 3)
    with Store.open(make_run(tmp_path / "run")) as store:
        for module in ("noise_floor", "verdict"):
            target = f"genesys_engine.engine.score.{module}.noise_floor"
            monkeypatch.setattr(target, lambda store: floor)
        text = Page(render_report(store)).text
    head = text.split("Evolution tree")[0]
    assert word in head
    assert "better than" not in head
    assert "worse than its parent" not in head


def test_every_score_stands_next_to_its_controls_and_its_cost(folder):
    with Store.open(folder) as store:
        body = Page(leaderboard_table(store)[1])
        rows = leaderboard(store)
    assert body.text.count("untrained 8.030") == len(rows)
    assert body.text.count("bigram") >= len({row.rung for row in rows})
    told = sum(bool(row.within_noise) for row in rows)
    assert body.text.count(standing.NO_DIFFERENCE) == told > 0
    labels = [attrs.get("data-label") for tag, attrs in body.elements if tag == "td"]
    for name in ("FLOPs per token", "parameters", "training"):
        assert labels.count(name) == len(rows)
    assert body.text.count("Verified up to") == len({row.rung for row in rows})


def test_designs_of_the_leaderboard_lead_to_their_trees_and_to_what_they_changed(folder, page):
    with Store.open(folder) as store:
        rows = leaderboard(store)
        child = next(row for row in rows[1:20] if row.parents)
        tree = GABTree.from_json(store.tree(child.design)).describe()
    ids = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    links = {attrs["href"][1:] for tag, attrs in page.elements if tag == "a"}
    assert links <= ids, "no link leads nowhere"
    assert f"design-{child.design}" in links
    assert " ".join(tree.split()) in page.text
    classes = [attrs.get("class") for tag, attrs in page.elements if tag == "span"]
    assert classes.count("added") > 0
    assert classes.count("removed") > 0


def test_gain_is_drawn_against_each_cost_with_a_front_that_no_cheaper_design_beats(folder):
    with Store.open(folder) as store:
        drawn = Page(cost(store)[1]).figures[0]
        rows = leaderboard(store)
    assert [view["label"] for view in drawn["switch"]] == list(AXES)
    dots, front = drawn["data"][0], drawn["data"][1]
    assert len(dots["x"]) == sum(SCALES[0] in row.gains for row in rows)
    assert front["y"] == sorted(front["y"])
    for x, y in zip(dots["x"], dots["y"], strict=True):
        beaten = [b for a, b in zip(front["x"], front["y"], strict=True) if a <= x]
        assert max(beaten) >= y


def test_figures_hold_the_run(folder, page):
    with Store.open(folder) as store:
        verified = len(leaderboard(store))
    tree, fitness, _, *curves, quadrant = page.figures
    assert len(tree["data"][4]["x"]) == verified
    assert sum(len(trace["x"]) for trace in fitness["data"][:-1]) == verified
    assert len(quadrant["data"][0]["x"]) == verified
    assert len(curves) == 3
    for drawn in curves:
        bold = drawn["data"][1]
        assert bold["y"][0] > bold["y"][-1]  # it falls


def test_the_fitness_figure_can_be_read_by_design_and_by_time(folder, page):
    drawn = page.figures[1]
    by_design, by_time = (view["args"][0] for view in drawn["switch"])
    assert by_design["x"] == [trace["x"] for trace in drawn["data"]]
    with Store.open(folder) as store:
        counted = [v for v in store.verifications() if v.status == "ok" and v.replicate == 0]
    assert sum(map(len, by_time["y"][:3])) == len(counted)
    for x, y, told in zip(by_time["x"], by_time["y"], by_time["hovertext"], strict=True):
        assert x == sorted(x)
        assert len(x) == len(y)
        assert len(told) in (len(x), 0)


def test_how_to_reproduce_gives_seed_digests_and_an_experiment_that_reads_back(folder):
    with Store.open(folder) as store:
        body = Page(reproduce(store)[1])
        digest = digest_events(store.events())
    assert digest in body.text
    assert META["experiment_digest"] in body.text
    assert META["corpus"]["digest"] in body.text
    assert META["corpus"]["folder"] not in body.text  # a path of one machine helps nobody
    toml = next(words for words in body.words if "[run]" in words)
    assert tomli.loads(toml) == EXPERIMENT


def test_hostile_texts_stay_texts(tmp_path):
    folder = make_run(tmp_path / "run", change=HOSTILE)
    unit = parse_unit(
        f'''
from torch import nn

class Bad(nn.Module):
    """{HOSTILE}"""

    interface = "block"
    inputs = ()
    outputs = ()
    slots = {{}}

    def __init__(self, d_model, block_loc, *, device=None, dtype=None):
        super().__init__()

    def forward(self, X, **Z):
        return X, Z
'''
    )
    with Store.open(folder, write=True) as store:
        number = store.count("designs")
        row = DesignRow(number, 10_000, True, "bad", None, (0,), HOSTILE, HOSTILE, 3, 9.0)
        with store.transaction():
            store.add_design(row, grow(unit).to_json(), design_report())
            first = next(v for v in store.verifications() if v.design == 1)
            store._db.execute(
                "UPDATE verifications SET design = ?, rung = 2 WHERE id = ?", (number, first.id)
            )
            store._db.execute(
                "UPDATE events SET payload = json_set(payload, '$.design', ?)"
                " WHERE kind = 'verification.finished'"
                " AND json_extract(payload, '$.verification') = ?",
                (number, first.id),
            )
            store.set_standing(number, 2, 9.0)
            failed = {"verification": 0, "seq": 0, "design": 0, "rung": 0, "replicate": 0}
            store.add_event(VerificationFailed(**failed, cause=HOSTILE, reason=HOSTILE))
        source = render_report(store)
    page = Page(source)
    assert HOSTILE in page.text  # it is shown, as text: change, docstring, cause
    assert HOSTILE in "".join(page.words)
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert not [attrs for _, attrs in page.elements if "onerror" in attrs]
    assert sum(kind == "" for kind, _ in page.scripts) == 3
    shown = [t for f in page.figures for trace in f["data"] for t in trace.get("hovertext", ())]
    hostile = [text for text in shown if "alert" in text]
    assert hostile  # Plotly reads HTML in a hover box, so it is escaped there once more
    assert all("<script" not in text and "<img" not in text for text in hostile)


def test_hover_texts_are_wrapped_and_escaped():
    assert hover("a <b> c", "", "x" * 70) == "a &lt;b&gt; c<br>" + "x" * 58 + "<br>" + "x" * 12


def test_data_of_a_figure_cannot_end_its_element():
    body = figure([{"type": "scatter", "x": [1], "y": [1], "name": "</script>"}], {}, label='"><b>')
    page = Page(body)
    assert page.figures[0]["data"][0]["name"] == "</script>"
    assert [tag for tag, _ in page.elements].count("b") == 0


def test_a_section_of_a_plugin_that_raises_costs_only_itself(folder):
    def broken(store):
        raise ValueError("<b>no</b>")

    def own(store):
        return "My section", f"<p>{html.escape(store.meta('name'))}</p>"

    with Store.open(folder) as store:
        sections = {**registered_sections(store), "zz broken": broken, "zz own": own}
        page = Page(render_report(store, sections=sections))
    assert ": ValueError: <b>no</b>" in page.text
    assert "my-section" in {attrs.get("id") for tag, attrs in page.elements if tag == "section"}


def test_a_built_in_section_that_raises_is_a_bug_and_not_hidden(folder):
    def broken(store):
        raise ValueError("bug")

    with Store.open(folder) as store, pytest.raises(ValueError, match="bug"):
        render_report(store, sections={"tree": broken})


def test_built_in_sections_come_through_the_hook_in_order(folder):
    with Store.open(folder) as store:
        assert tuple(registered_sections(store))[: len(ORDER)] == ORDER


def test_a_run_that_has_just_begun_can_be_reported_on(tmp_path):
    with Store.create(tmp_path / "run", META) as store:
        page = Page(render_report(store))
    assert "No design has been verified yet" in page.text
    assert "not started" in page.text


def test_report_is_written_whole_into_the_run(folder):
    with Store.open(folder) as store:
        path = write_report(store)
        assert path == folder / "report.html"
        assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
        elsewhere = write_report(store, folder / "more" / "page.html")
    assert elsewhere.is_file()
    assert not list(folder.glob(".*.partial"))


# --- size --------------------------------------------------------------------------------------


def large_run(folder, count):
    """Write a run of `count` designs, each verified once, all but the first with a parent."""
    tree = library.seed("gpt").to_json()
    scores = {"bits_per_byte": score(2.9, stderr=0.01, n=9)}
    fit = {**SHAPE, "d_model": 64, "parameters": 200_000}
    report = design_report({"fits": {"0.2M": fit}, "flops_per_token": {"0.2M": 1e6}})
    with Store.create(folder, META) as store, store.transaction():
        store.curves.allocate(count)
        begun = {"seed": 7, "mode": "steady_state", "selection": "quadrant", "reference": "gpt"}
        rungs = (RungPlan("0.2M", count, 10, 128, 1),)
        store.add_event(RunStarted(experiment="e", **begun, rungs=rungs, designs=count))
        for number in range(count):
            parents, seq = ((number // 3,) if number else ()), 2 * number
            operator = "insertion" if number else "seed:gpt"
            change = f"Inserted a gate before the mixer of layer {number} and a norm behind it."
            row = DesignRow(number, seq, True, str(number), None, parents, operator, change)
            store.add_design(row, tree, report)
            about = {"design": number, "seq": seq, "parents": parents}
            made = {"operator": operator, "change": change, "digest": str(number)}
            store.add_event(DesignAccepted(**about, **made, parameters=200_000))
            gain = float(number * 37 % 9973) / 500 if number else 0.0
            told = ("ok", "", gain, scores, {"untrained": scores}, 10, {})
            about = {"design": number, "rung": 0, "replicate": 0}
            store.add_verification(VerificationRow(number, seq + 1, number, 0, 0, *told), [])
            values = {"fitness": gain, "scores": {"bits_per_byte": 2.9}}
            about = {"verification": number, "seq": seq + 1, **about}
            store.add_event(VerificationFinished(**about, **values))
            store.set_standing(number, 0, gain)


def test_the_report_of_ten_thousand_designs_is_small(tmp_path):
    from plotly.offline import get_plotlyjs

    folder = tmp_path / "large"
    large_run(folder, 10_000)
    with Store.open(folder) as store:
        source = render_report(store)
        best = store.leaderboard(1)[0].id
        drawn = lineage(store, charts.MOST_DESIGNS)
        line = {row.id for row in ancestry(store, best)}
    assert len(source) - len(get_plotlyjs()) < 3_000_000
    shown = {node.design for node in drawn.nodes}
    assert len(shown) == charts.MOST_DESIGNS
    assert drawn.left_out == 10_000 - charts.MOST_DESIGNS
    assert line <= shown  # the best with all that led to it
    assert f"{drawn.left_out:,} others are omitted" in source
    assert f"{10_000 - charts.MOST_POINTS:,} points are omitted" in source
    assert f"{10_000 - charts.MOST_POINTS:,} are omitted" in source
    assert all({edge.parent, edge.child} <= shown for edge in drawn.edges)


def test_a_line_that_is_longer_than_what_is_drawn_ends_at_its_youngest(tmp_path):
    rows = [
        DesignRow(n, n, True, str(n), None, (n - 1,) if n else (), "insertion" if n else "seed:gpt",
                  "A.", rung=0, fitness=float(n))
        for n in range(50)
    ]  # fmt: skip
    assert [row.id for row in foremost(rows, 10)] == [0, *range(41, 50)]
    assert foremost(rows, 50) == rows


def test_thinned_points_keep_those_that_led_and_the_best():
    points = [Point(n, float(n), float(n * 7 % 101), 1) for n in range(1000)]
    few = thinned(points, 100)
    assert 80 <= len(few) <= 100
    assert set(best_so_far(points)[-25:]) <= set(few)
    assert max(points, key=lambda p: p.fitness) in few
    assert few == sorted(few, key=lambda p: p.design)
    assert thinned(points, 1000) == points
