"""What the live display shows, and that it never holds up a run."""

import io
import time

import pytest
from rich.console import Console
from sample_run import NOISE_SEEDS, make_run

from genesys_engine.engine.cli.progress.live import Progress
from genesys_engine.engine.cli.progress.panel import panel
from genesys_engine.engine.store.events import Event
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views.run import RungView, Running, RunView, view
from genesys_engine.plugins import event_kinds as events


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    with Store.open(make_run(tmp_path_factory.mktemp("runs") / "sample")) as store:
        return list(store.events())


def plain(log, *, step: float = 10.0) -> list[str]:
    """Return the lines of a log, with a clock that goes on by `step` per event."""
    now, stream = [0.0], io.StringIO()
    with Progress(stream, live=False, clock=lambda: now[0]) as progress:
        for event in log:
            now[0] += step
            progress.on_event(event)
    return stream.getvalue().splitlines()


def test_plain_lines_tell_what_was_changed_and_how_it_did(log):
    lines = plain(log)
    accepted = next(e for e in log if e.kind == events.DESIGN_ACCEPTED and e.payload["parents"])
    assert any(accepted.payload["change"] in line for line in lines)
    assert any("0.2M 1/30: gpt 0.00 %, about" in line for line in lines)
    assert any("failed: timeout: no reply after 600 s" in line for line in lines)
    assert any("best so far:" in line for line in lines)
    again = [line for line in lines if "gpt again, " in line]
    assert len(again) == NOISE_SEEDS[0] - 1, "a gain of the reference over itself says why"
    assert any("rung 4M opened" in line for line in lines)
    assert lines[-1].endswith("finished: 26 designs, 38 verifications in 5 min 17 s")
    assert all(line[:8].count(":") == 2 for line in lines)


def test_a_run_that_is_stopped_is_not_called_running(log):
    lines = plain(log[: len(log) // 2])
    assert "stopped: " in lines[-1]
    assert "running" not in lines[-1]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"budget": "designs", "used": 8, "cap": 16}, "8 of 16 designs used"),
        (
            {"budget": "budget.llm_tokens", "used": 20560, "cap": 40000},
            "20,560 of 40,000 LLM tokens used",
        ),
        (
            {"budget": "budget.llm_usd", "used": 0.51, "cap": 1.0, "lost": 0.1},
            "0.51 of 1 LLM USD used (0.1 of it in lost replies)",
        ),
    ],
)
def test_a_budget_is_named_once_and_in_words(log, payload, said):
    begin = next(e for e in log if e.kind == events.RUN_STARTED)
    lines = plain([begin, Event(2, events.BUDGET_WARNING, payload, True, begin.at)])
    (line,) = (line for line in lines if "budget" in line)
    assert line.endswith(f"  budget: {said}")


def test_one_is_not_many(log):
    begin = next(e for e in log if e.kind == events.RUN_STARTED)
    accepted = next(e for e in log if e.kind == events.DESIGN_ACCEPTED)
    assert "1 design, 0 verifications" in plain([begin, accepted])[-1]


def test_routine_is_held_back_but_nothing_notable(log):
    lines = plain(log, step=0.01)
    notable = {events.VERIFICATION_FAILED, events.BEST_CHANGED, events.RUNG_OPENED}
    told = sum(e.kind in notable for e in log)
    assert sum("failed:" in x or "best so far" in x or "opened" in x for x in lines) == told
    assert len(lines) < len(plain(log))
    assert any("more)" in line for line in lines)


def accepted(change, at):
    about = {"design": 1, "seq": 0, "parents": [], "operator": "llm_mutation", "change": change}
    payload = {**about, "digest": "d", "parameters": 2e5}
    return Event(2, events.DESIGN_ACCEPTED, payload, True, at)


def test_the_long_idea_of_a_language_model_takes_one_short_line(log):
    begin = next(e for e in log if e.kind == events.RUN_STARTED)
    change = "Replace the normalization.\n" + 40 * "because of many reasons "
    lines = plain([begin, accepted(change, begin.at)])
    (line,) = (line for line in lines if "Replace the normalization. because of" in line)
    assert line.endswith(" …")
    assert len(line) < 200


def test_a_text_of_a_design_cannot_steer_the_terminal(log):
    begin = next(e for e in log if e.kind == events.RUN_STARTED)
    change = "\x1b[2Jgone [bold red]x"
    design = accepted(change, begin.at)
    assert not any("\x1b" in line for line in plain([begin, design]))
    run = RunView()
    run.apply(begin)
    run.apply(design)
    shown = render(panel(run, begin.at))
    assert "\x1b" not in shown
    assert "[bold red]x" in shown  # not read as markup


def render(renderable, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(renderable)
    return console.file.getvalue()


def test_panel_shows_rungs_best_running_time_left_and_recent_changes(log):
    until = next(i for i, e in enumerate(log) if e.kind == events.RUNG_OPENED) + 2
    run = RunView()
    for event in log[:until]:
        run.apply(event)
    shown = render(panel(run, log[until - 1].at + 4, "Ctrl-C again to abort"))
    assert "28/30, 3 failed" in shown
    assert "21/24 children, 3 rejected" in shown
    assert "gpt at 1M 4 s" in shown
    assert "left" in shown
    assert run.changes[-1][2] in shown
    assert "training ×2" in shown
    assert "Ctrl-C again to abort" in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_panel_fits_a_narrow_terminal(log):
    run = RunView()
    for event in log:
        run.apply(event)
    assert max(map(len, render(panel(run, log[-1].at), width=60).splitlines())) <= 60


def test_panel_can_be_drawn_after_every_single_event(log):
    run = RunView()
    for event in log:
        run.apply(event)
        assert render(panel(run, event.at))


def test_live_display_draws_and_leaves_one_line_behind(log):
    stream = io.StringIO()
    with Progress(stream, live=True, clock=lambda: log[-1].at) as progress:
        for event in log:
            progress.on_event(event)
        progress.say("starting workers")
        deadline = time.monotonic() + 60
        while "starting workers" not in stream.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
    written = stream.getvalue()
    assert "starting workers" in written
    assert "best" in written
    assert written.rstrip().endswith("finished: 26 designs, 38 verifications in 5 min 17 s")


def test_the_display_and_the_store_tell_the_same_run(tmp_path):
    with Store.open(make_run(tmp_path / "run")) as store:
        progress = Progress(io.StringIO(), live=False)
        for event in store.events():
            progress.on_event(event)
        progress.run.name = store.meta("name")  # a name decides nothing: it is in no event
        assert progress.run == view(store)


def test_message_before_the_first_event_is_shown_and_nothing_summed_up():
    stream = io.StringIO()
    with Progress(stream, live=False) as progress:
        progress.say("preparing the corpus")
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().endswith("  preparing the corpus\n")


def test_what_was_prepared_is_not_said_for_ever_and_what_waits_is_not_shown_as_training(log):
    progress = Progress(io.StringIO(), live=True)
    progress.say("starting workers")
    timed = False
    for event in log:
        progress.on_event(event)
        timed = timed or event.kind == events.DEVICE_USED
        tasks, queued = progress.run.under_way()
        training = [task for task in tasks if task.design is not None]
        assert len(tasks) + queued == len(progress.run.running)
        if timed:
            assert len(training) <= progress.run.workers
    shown = render(panel(progress.run, log[-1].at, progress._message))
    assert "starting workers" not in shown


def test_of_three_verifications_on_one_worker_two_are_in_the_queue():
    run = RunView(workers=1, rungs=[RungView("0.2M", 8, 1000, timed=1)])
    run.running = {seq: Running(seq, seq, 0, 100.0) for seq in (4, 5, 6)}
    run.running[7] = Running(7, None, None, 100.0)  # a design is made elsewhere
    tasks, queued = run.under_way()
    assert ([task.seq for task in tasks], queued) == ([4, 7], 2)
    assert "2 queued" in render(panel(run, 120.0))
