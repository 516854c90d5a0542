"""The page in a real headless Chromium, over a sample run and over a real one in mid-flight."""

import json
import re

import pytest
from dashboard_server import browser, opened, served
from engine_process import ask, ended, started, wait_for, write_experiment
from sample_run import make_run

from genesys_engine.engine.store.run_store import Store

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "sample", change=EVIL)


@pytest.fixture(scope="module")
def server(run):
    with served([run]) as found:
        yield found


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def page(chromium, server):
    """One page for the tests that only look, since each start costs a second."""
    with opened(chromium, server.address) as found:
        yield found


def go(page, view, ready):
    """Show a view anew, also the one that is shown, and wait for a part of it."""
    page.evaluate(
        """view => {
          document.querySelector(".view")?.remove();
          if (location.hash === `#${view}`) dispatchEvent(new HashChangeEvent("hashchange"));
          else location.hash = view;
        }""",
        view,
    )
    page.locator(ready).first.wait_for()


def test_the_token_leaves_the_address_and_the_list_leads_to_the_run(page):
    page.locator(".card").first.wait_for()
    assert "token" not in page.url
    page.get_by_role("link", name="sample").click()
    page.locator("canvas[data-designs]").wait_for()
    assert page.locator("h1").inner_text() == "sample"
    assert page.locator(".chip.state-finished").count() == 1


def test_the_run_view_shows_every_part_and_asks_nobody_else(page):
    go(page, "/run/sample", ".board tbody tr")
    page.locator("#fitness .main-svg").first.wait_for()
    page.locator("#trade-off .main-svg").first.wait_for()
    for section in ("tree", "failures", "llm", "work", "log"):
        assert page.locator(f"#{section}").inner_text().strip()
    assert page.locator(".board tbody tr").count() > 10
    assert "causality.leak" in page.locator("#failures").inner_text()
    assert page.said == []


def test_the_leaderboard_sorts_and_filters(page):
    go(page, "/run/sample", ".board tbody tr")
    page.locator("#leaderboard [data-sort=parameters]").click()
    head = page.locator("#leaderboard th[aria-sort=ascending]")
    head.wait_for()
    assert "parameters" in head.inner_text()
    page.get_by_label("Filter the leaderboard").fill("seed:mamba2")
    page.locator(".pager", has_text="of 1 design").wait_for()
    assert "mamba2" in page.locator(".board tbody tr").inner_text()


def test_the_tree_is_walked_and_a_design_opened_by_keyboard(page):
    go(page, "/", ".card")
    go(page, "/run/sample", "canvas[data-designs]")
    page.locator("canvas").focus()
    for key in ("Home", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    page.locator(".chosen-head").wait_for()
    assert "gpt" in page.locator(".chosen-head").inner_text()
    page.keyboard.press("+")
    page.keyboard.press("Enter")
    page.locator("#source").wait_for()
    assert page.locator("h1").inner_text() == "gpt"


def test_a_design_shows_its_code_its_differences_and_its_curves(run, page):
    with Store.open(run) as store:
        child = next(r for r in store.leaderboard() if r.parents)
    go(page, f"/run/sample/design/{child.id}", "#source")
    page.locator("#curves .main-svg").first.wait_for()
    page.locator("#source summary", has_text="Difference").first.click()
    page.locator("#source .diff .plus").first.wait_for()
    page.locator("#source summary", has_text="whole module").click()
    page.locator("#source pre.code .k, #source pre.code .kn").first.wait_for()
    assert "untrained" in page.locator("#scores").inner_text()
    assert page.locator("#structure pre").first.inner_text().strip()
    assert page.locator("#lineage li").count() >= 2


def test_texts_of_designs_are_shown_and_never_run(run, page):
    with Store.open(run) as store:
        named = next(row.id for row in store.designs() if "<img" in row.change)
    go(page, f"/run/sample/design/{named}", "#source")
    assert "<img src=x" in page.locator(".lead").inner_text()
    assert page.locator("main img").count() == 0
    assert "owned" not in page.title()
    assert page.said == []


def test_designs_are_compared(page):
    go(page, "/compare?d=sample:0,sample:1", "#scores table")
    text = page.locator("main").inner_text()
    assert "gpt" in text
    page.locator("#curves .main-svg").first.wait_for()
    page.locator("#code .diff span").first.wait_for()
    assert page.locator("#settings tbody tr").count() > 1


def test_an_address_of_nothing_is_one_message(page):
    for view in ("/run/nobody", "/run/sample/design/99999", "/compare?d=x", "/study/sample"):
        go(page, view, "[role=alert]")
        assert page.locator("[role=alert]").inner_text().strip()
    go(page, "/somewhere", ".notice")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(chromium, server, scheme):
    with opened(chromium, server.at("/run/sample"), **PHONE, color_scheme=scheme) as page:
        page.locator(".board tbody tr").first.wait_for()
        page.locator("#fitness .main-svg").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        by_size = server.json("/api/runs/sample/leaderboard", sort="parameters")["rows"]
        page.get_by_label("Sort by").select_option("parameters")  # there is no head to sort by
        first = page.locator(".board tbody tr:first-child .design-link")
        first.filter(has_text=re.compile(f"^{by_size[0]['label']}$")).wait_for()
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        level = sum(map(int, re.findall(r"\d+", light)[:3]))
        assert (level < 300) == (scheme == "dark")
        for name in page.locator("button:visible, select:visible, input:visible").all():
            assert name.evaluate("e => e.textContent || e.ariaLabel || e.labels?.length"), name
        page.evaluate("location.hash = '/run/sample/design/0'")
        page.locator("#source").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_without_the_token_a_browser_sees_nothing(chromium, server):
    with opened(chromium, server.base) as page:
        assert "sample" not in page.content()


PINNED = "SELECT payload FROM events WHERE kind = 'design.pinned' AND decisive"
CHILD = "SELECT MAX(id) FROM designs WHERE accepted AND parents != '[]' HAVING COUNT(*)"
TWO_RUNGS = """
[[ladder.rungs]]
scale = "1M"
verifications = 2
tokens = 6144
"""


@pytest.mark.slow
def test_a_real_run_is_watched_pinned_and_stopped_in_mid_flight(chromium, tmp_path):
    file = write_experiment(tmp_path, verifications=30, designs=28, more=TWO_RUNGS)
    run = tmp_path / "runs" / "live"
    with started("run", file, "--out", run) as process:
        wait_for(lambda: (run / "run.sqlite").exists(), process)
        with (
            served([run.parent], control=True) as server,
            opened(chromium, server.at("/run/live")) as page,
            opened(chromium, server.at("/")) as other,
        ):
            page.locator(".chip.state-running").wait_for()
            other.locator(".card .chip.state-running").wait_for()
            page.locator(".workers li").first.wait_for()
            page.locator(".board tbody tr").first.wait_for()  # it came while we watched
            ((child,),) = wait_for(lambda: ask(run, CHILD), process)
            go(page, f"/run/live/design/{child}", ".pin button")
            page.get_by_role("button", name="Pin for promotion").click()
            page.locator(".pin [role=status]").wait_for()
            wait_for(lambda: ask(run, PINNED), process)
            go(page, "/run/live", ".stop button")
            page.get_by_role("button", name="Stop after the running trials").click()
            page.get_by_role("button", name="Go on").click()  # it was not meant
            page.get_by_role("button", name="Stop after the running trials").click()
            page.get_by_role("button", name="Stop, resume later").click()
            page.locator(".chip.state-interrupted").wait_for()
            other.locator(".card .chip.state-interrupted").wait_for()
            assert page.locator(".stop button").count() == 0
        answer = ended(process)
    assert answer.code == 130, answer.err
    assert [json.loads(payload) for (payload,) in ask(run, PINNED)] == [{"design": child}]
    assert not list(run.glob("requests/*"))
