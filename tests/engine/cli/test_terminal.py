"""No text of a candidate, of a language model or of a plugin steers the terminal, in any view."""

import ast
import json
import sqlite3
import sys
import unicodedata
from io import StringIO
from pathlib import Path

import commands
import pytest
from sample_run import make_run

import genesys_engine.engine
from genesys_engine.engine.cli import app
from genesys_engine.engine.cli.app import main
from genesys_engine.engine.cli.progress.study import StudyProgress
from genesys_engine.engine.common import interrupt
from genesys_engine.engine.common.terminal import clean
from genesys_engine.engine.compare.results import Implemented, Result
from genesys_engine.engine.llm.ledger import Call, Ledger
from genesys_engine.engine.store.run_store import DATABASE, Store

ENGINE = Path(genesys_engine.engine.__file__).parent
STEERS = (
    "\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\x9d", "\r", "\b", "\x00", "\x7f", "\x85",
    "\u202e", "\u202a", "\u2066", "\u2069", "\u200e", "\u200f", "\u061c", "\u2028", "\u2029",
    "\U000e0041",
)  # fmt: skip
POISON = "gone" + "".join(STEERS) + "here"
IN_SOURCE = POISON.replace("\x00", "").replace("\r", "")  # Python reads neither in a comment
HARMLESS = "tab\tline\n\u00fc\u4e2d\U0001f600\u200d\u00ad"


def steering(text):
    """Return the characters of a text that a terminal would obey, or that turn it around."""
    return {
        f"U+{ord(char):04X}"
        for char in text
        if char not in "\t\n\u200d\u00ad"
        and unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs")
    }


def test_what_steers_is_replaced_and_nothing_else():
    assert clean(HARMLESS) == HARMLESS
    assert steering(clean(POISON)) == set()
    assert clean("\ud800") == "\ufffd"
    assert all(clean(char) == "\ufffd" for each in STEERS for char in each if steering(char))


def poisoned(value):
    """Return JSON with poison behind every text that a candidate or a model could have chosen."""
    if isinstance(value, dict):
        chosen = {"change", "message", "advice", "reason", "text", "reply", "name", "role"}
        return {
            key: f"{item}{POISON}" if key in chosen and isinstance(item, str) else poisoned(item)
            for key, item in value.items()
        }
    return [poisoned(item) for item in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "run"
    make_run(folder)
    with Store.open(folder) as store:
        task = next(row.seq for row in store.designs() if row.id == 20)
    call = Call("coder", str(task), f"model{POISON}", {"messages": [["user", POISON]]}, "x", POISON)
    Ledger(folder / DATABASE).add(call)
    with sqlite3.connect(folder / DATABASE) as db:
        db.create_function("poisoned", 1, lambda text: json.dumps(poisoned(json.loads(text))))
        db.execute("UPDATE designs SET change = change || ?, report = poisoned(report)", (POISON,))
        db.execute("UPDATE designs SET operator = operator || ?", (POISON,))
        db.execute("UPDATE verifications SET reason = reason || ?", (POISON,))
        db.execute("UPDATE events SET payload = poisoned(payload)")
        db.execute("UPDATE units SET source = source || ?", (f"\n# {IN_SOURCE}",))
    return folder


VIEWS = (
    ["show", "{}", "20"],
    ["show", "{}", "20", "--code"],
    ["show", "{}", "20", "--json"],
    ["leaderboard", "{}"],
    ["leaderboard", "{}", "--wide"],
    ["leaderboard", "{}", "--csv"],
    ["leaderboard", "{}", "--json"],
    ["leaderboard", "{}", "--operators"],
    ["status", "{}"],
    ["events", "{}"],
    ["events", "{}", "--json"],
    ["knowledge", "tried", "{}", "gate"],
    ["llm", "usage", "{}"],
    ["llm", "show", "{}", "20"],
)


@pytest.mark.parametrize("width", ["60", "200"])
@pytest.mark.parametrize("arguments", VIEWS, ids=" ".join)
def test_no_view_steers_the_terminal(run, arguments, width, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", width)
    assert main([each.format(run) for each in arguments]) == 0
    shown = capfd.readouterr()
    assert shown.out + shown.err
    assert steering(shown.out + shown.err) == set()


def test_progress_and_panel_do_not_steer_the_terminal(run):
    from rich.console import Console

    from genesys_engine.engine.cli.progress.live import Progress
    from genesys_engine.engine.cli.progress.panel import panel

    plain = StringIO()
    with Store.open(run) as store, Progress(plain, live=False) as progress:
        for event in store.events():
            progress.on_event(event)
    progress.say(POISON)
    console = Console(file=StringIO(), force_terminal=False, width=200)
    console.print(panel(progress.run, 0.0, POISON))
    assert steering(plain.getvalue()) == steering(console.file.getvalue()) == set()


def test_a_study_s_progress_does_not_steer_the_terminal():
    plain = StringIO()
    with StudyProgress(plain, live=False) as progress:
        progress.on_plan([(POISON, 2)], [])
        progress.on_result(Result(POISON, POISON, Implemented(False, POISON, 1, {}), 1.0))
        progress.say(POISON)
    assert "gone" in plain.getvalue()
    assert steering(plain.getvalue()) == set()


@pytest.mark.parametrize("debug", [False, True])
def test_no_error_steers_the_terminal(tmp_path, debug, capfd):
    block = tmp_path / "block.py"
    block.write_text(f"class Block:\n    '''{POISON}'''\n    x = = 1  # {POISON}\n")
    for arguments in (["check", str(block)], ["check", POISON], ["show", str(tmp_path), POISON]):
        main([*(["--debug"] if debug else []), *arguments])
    shown = capfd.readouterr()
    assert steering(shown.out + shown.err) == set()


SPOKEN = {
    "a warning": ("warnings.warn(POISON)", "UserWarning"),
    "a thread": ("thread = threading.Thread(target=fail)\nthread.start()\nthread.join()", "thread"),
    "a destructor": ("Dying()", "ValueError"),
    "nobody": ("fail()", "ValueError"),
    "a callback of a future": (
        "future = Future()\nfuture.add_done_callback(lambda _: fail())\nfuture.set_result(0)",
        "ValueError",
    ),
}


@pytest.mark.parametrize("who", SPOKEN)
def test_nothing_that_python_says_by_itself_steers_the_terminal(who):
    """A candidate's source can have it warn in its own words; an error may quote a reply."""
    action, said = SPOKEN[who]
    code = f"""
import threading, warnings
from concurrent.futures import Future
from genesys_engine.engine.cli import python_output
python_output.route_python_output()
python_output.route_records()
POISON = {POISON!r}

def fail():
    raise ValueError(POISON)

class Dying:
    def __del__(self):
        fail()

{action}
"""
    done = commands.run([sys.executable, "-c", code])
    assert said in done.stderr
    assert "gone" in done.stderr
    assert "here" in done.stderr
    assert steering(done.stderr) == set()


@pytest.mark.parametrize(("said", "code"), [(None, 0), (3, 3), (POISON, 1)])
def test_an_exit_of_a_plugin_that_says_something_is_shown_clean(monkeypatch, capsys, said, code):
    def leaves(*_, **__):
        raise SystemExit(said)

    monkeypatch.setattr(app.cli, "main", leaves)
    for name in ("route_python_output", "route_records"):
        monkeypatch.setattr(app, name, lambda: None)
    monkeypatch.setattr(interrupt, "end_like_ctrl_c", lambda: None)
    with pytest.raises(SystemExit) as left:
        app.program()
    assert left.value.code == code
    shown = capsys.readouterr().err
    assert steering(shown) == set()
    assert ("gone" in shown) == (said is POISON)


def test_there_is_one_way_to_the_terminal():
    """`click.echo`, `print` and rich's `Text` stand in one module, where all texts are cleaned."""
    allowed = {
        "cli/output.py",
        "common/terminal.py",
        "common/waiting.py",
    }
    found = []
    for path in ENGINE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in (
                    "click.echo",
                    "click.secho",
                    "print",
                    "Text",
                    "sys.stdout.write",
                    "sys.stderr.write",
                ):
                    found.append((path.relative_to(ENGINE).as_posix(), called))
    assert {name for name, _ in found} <= allowed, found
