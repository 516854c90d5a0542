"""The page of a study says what its table and its JSON say, by itself, and a browser draws it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import commands
import pytest
from study_support import World, section

from genesys_engine.engine.compare.evolution_summary import summarise_runs
from genesys_engine.engine.compare.implementation_summary import summarise
from genesys_engine.engine.compare.page import render_page, write_page
from genesys_engine.engine.compare.results import FinishedRun, Implemented, Result, Used
from genesys_engine.engine.compare.summary import tables
from genesys_engine.engine.config.schema import CompareArm, CompareSection

BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")
HOSTILE = "</script><script>alert('x')</script>"


class Page(HTMLParser):
    """The tables, figures, sentences and scripts of a page."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: list[list[list[str]]] = []
        self.sentences: list[str] = []
        self.others: list[str] = []
        self.scripts: list[tuple[str, str]] = []
        self.policy = ""
        self.links: list[str] = []
        self._in: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.links += [str(told[name]) for name in ("src", "href") if name in told]
        if told.get("http-equiv"):
            self.policy = told["content"]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "li":
            (self.others if "details" in self._in else self.sentences).append("")
        elif tag == "script":
            self.scripts.append((told.get("type") or "", ""))
        if tag != "meta":
            self._in.append(tag)

    def handle_endtag(self, tag):
        assert self._in.pop() == tag

    def handle_data(self, data):
        inner = self._in[-1] if self._in else ""
        if inner in ("td", "th"):
            self.tables[-1][-1][-1] += data
        elif inner == "li":
            (self.others if "details" in self._in else self.sentences)[-1] += data
        elif inner == "script":
            kind, text = self.scripts[-1]
            self.scripts[-1] = kind, text + data

    @property
    def figures(self):
        return [json.loads(text) for kind, text in self.scripts if kind == "application/json"]


@pytest.fixture
def studied(monkeypatch, tmp_path):
    """An implementation study of three arms with different rates."""
    world = World(monkeypatch, price=0.01)
    arms = world.arms(gp=(2, 2), direct=(1, 1), no_planner=(1, 0))
    compare = section(arms)
    store, proposals = world.run(tmp_path / "study", compare, per_stratum=2, strata=(1, 2, 3))
    data = summarise(compare, proposals, store.results(Implemented), name="three arms")
    store.close()
    return data


@pytest.fixture
def evolved():
    """An evolution study of two arms and three seeds."""
    compare = CompareSection(
        study="evolution", arms=(CompareArm(name="a"), CompareArm(name=HOSTILE)), seeds=(1, 2, 3)
    )
    results = [
        Result(f"seed-{seed}", arm.name, run_of(seed + 2 * index), 1.0)
        for seed in compare.seeds
        for index, arm in enumerate(compare.arms)
    ]
    return summarise_runs(compare, results, name="two arms")


def run_of(height):
    best = (0.0, 0.7 * height, 1.0 * height)
    return FinishedRun(
        costs=(0, 200, 300), best_so_far=best, generations=best, spent=300, best=best[-1],
        mean=0.5 * height, made=4, valid=3, used=Used(0, 0.0, 9.0, 6.0),
        device=("cpu",),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["studied", "evolved"])
def test_tables_and_sentences_are_those_of_the_terminal(kind, request):
    data = request.getfixturevalue(kind)
    page = Page(render_page(data))
    expected = [[list(table.columns), *map(list, table.rows)] for table in tables(data)]
    assert page.tables == expected
    first = data.arms[0].arm
    told = {True: page.sentences, False: page.others}
    for of_first, sentences in told.items():
        wanted = [each.sentence for each in data.comparisons if (each.first == first) == of_first]
        assert sentences == wanted


def ends(trace):
    """Return value, low and high of every point of a trace, one list."""
    bars = trace["error_y"]
    points = zip(trace["y"], bars["arrayminus"], bars["array"], strict=True)
    return [end for value, down, up in points for end in (value, value - down, value + up)]


def percent(*rows):
    return [100 * v for row in rows for v in (row.valid_rate, row.interval.low, row.interval.high)]


def test_the_figures_of_an_implementation_study_show_the_numbers_of_the_json(studied):
    rates, costs, strata = Page(render_page(studied)).figures
    arms = studied.arms
    assert rates["data"][0]["x"] == ["gp", "direct", "no_planner"]
    assert ends(rates["data"][0]) == pytest.approx(percent(*arms))
    assert len({arm.valid_rate for arm in arms}) == 3, "equal rows would hide a mix-up"
    for trace, arm in zip(costs["data"], arms, strict=True):
        assert (trace["name"], trace["x"]) == (arm.arm, [arm.tokens])
        assert ends(trace) == pytest.approx(percent(arm))
    for trace, arm in zip(strata["data"], arms, strict=True):
        assert [round(x) for x in trace["x"]] == [1, 2, 3]
        assert ends(trace) == pytest.approx(percent(*arm.strata))
    for figure in (rates, costs, strata):
        assert figure["layout"]["yaxis"]["title"]["text"] == "valid designs (%)"
    assert costs["layout"]["xaxis"]["title"]["text"] == "tokens per proposal, input and output"


def test_the_figures_of_an_evolution_study_show_the_numbers_of_the_json(evolved):
    bests, curves = Page(render_page(evolved)).figures
    runs, means = bests["data"]
    assert runs["y"] == [run.best for arm in evolved.arms for run in arm.runs]
    wanted = [
        v for arm in evolved.arms for v in (arm.means["best"], *arm.intervals["best"].to_json())
    ]
    assert ends(means) == pytest.approx(wanted)
    drawn = [(trace["x"], trace["y"]) for trace in curves["data"]]
    until = evolved.until_tokens  # what a run found stands to the end of the longest one
    assert drawn == [
        ([*run.costs, until], [*run.best_so_far, run.best])
        for arm in evolved.arms
        for run in arm.runs
    ]


def test_one_stratum_is_drawn_once(studied):
    arms = tuple(replace(arm, strata=arm.strata[:1]) for arm in studied.arms)
    assert len(Page(render_page(replace(studied, arms=arms))).figures) == 2


@pytest.mark.parametrize("kind", ["studied", "evolved"])
def test_nothing_is_loaded_and_nothing_but_the_two_scripts_may_run(kind, request):
    page = Page(render_page(request.getfixturevalue(kind)))
    assert page.links == []
    assert "default-src 'none'" in page.policy
    assert len(re.findall(r"'sha256-[^']+'", page.policy)) == 3
    assert sum(kind == "" for kind, _ in page.scripts) == 3


@pytest.mark.parametrize("kind", ["studied", "evolved"])
def test_a_browser_draws_every_figure_without_an_error(kind, request, tmp_path):
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"no browser is installed: {', '.join(BROWSERS)}")
    data = request.getfixturevalue(kind)
    page = write_page(data, tmp_path)
    done = commands.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            "--virtual-time-budget=10000", "--dump-dom", page.as_uri(),
        ], timeout=120,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr, done.stderr
    figures = len(Page(page.read_text()).figures)
    assert done.stdout.count('aria-label="') == figures
    assert len(re.findall(r'<div class="plot[^>]*js-plotly-plot', done.stdout)) == figures
    drawn = re.findall(r'class="point"', done.stdout)
    bars = re.findall(r'class="yerror"', done.stdout)
    assert (len(drawn), len(bars)) == ((15, 15) if kind == "studied" else (8, 2))
