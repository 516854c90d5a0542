"""The frame of the command line: help, errors and their exit codes, output, first commands."""

import csv
import errno
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import commands
import pytest

from genesys_engine.engine.cli import output
from genesys_engine.engine.cli.app import COMMANDS, cli, main
from genesys_engine.gab import errors

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = [sys.executable, "-m", "genesys_engine.engine.cli"]


def program(*arguments: str, **changes: Any) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT)} | changes
    return commands.run([*PROGRAM, *arguments], env=env, timeout=120)


# --- help --------------------------------------------------------------------------------------

HEAVY = {"torch", "pydantic", "datasets", "numpy", "deap", "rich", "pluggy", "tomli", "sqlite3"}


def test_help_imports_nothing_heavy_and_no_command() -> None:
    code = (
        "import sys; from genesys_engine.engine.cli import main\n"
        "assert main(['--help']) == 0\n"
        "print('MODULES', *sys.modules)\n"
    )
    done = commands.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    modules = set(done.stdout.partition("MODULES")[2].split())
    assert not modules & HEAVY
    assert not [name for name in modules if name.startswith("genesys_engine.engine.cli.commands")]
    for name, line in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(line)}$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_list_is_there(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.help


def test_version_and_exit_codes_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"genesys-engine, version \d.*\n", capsys.readouterr().out)
    main(["-h"])
    assert "130" in capsys.readouterr().out


def test_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validat"]) == 2
    assert "did you mean 'validate'" in capsys.readouterr().err
    assert main(["validate", "--wrong", "x"]) == 2
    assert main(["validate"]) == 2
    assert "Missing argument 'EXPERIMENT'" in capsys.readouterr().err


# --- errors and exit codes ---------------------------------------------------------------------


@pytest.fixture
def fail() -> Iterator[Any]:
    """A function that runs the program with a command that raises, and returns its code."""
    raised: list[BaseException] = []

    @cli.command("fail")
    def command() -> None:
        raise raised.pop()

    def run(error: BaseException, *options: str) -> int:
        raised.append(error)
        return main([*options, "fail"])

    yield run
    del cli.commands["fail"]


FAILURES = [
    (errors.InputError("no such key", where="a.toml:1:2", hint="mend it"), 2),
    (errors.PluginError("broken"), 2),
    (errors.EnvironmentProblem("no CUDA"), 4),
    (KeyboardInterrupt(), 130),
    (OSError(errno.ENOSPC, "No space left on device", "run.db"), 4),
    (PermissionError(errno.EACCES, "Permission denied", "/x"), 4),
    (OSError(errno.ELOOP, "Too many levels of symbolic links", "/x"), 2),
    (IsADirectoryError(errno.EISDIR, "Is a directory", "/x"), 2),
    (MemoryError(), 4),
    (ZeroDivisionError("division by zero"), 3),
    (OSError(errno.EINVAL, "Invalid argument"), 3),
]


@pytest.mark.parametrize(("error", "code"), FAILURES)
def test_exit_codes(
    fail: Any, error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail(error) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("genesys-engine: ") or code == 130
    assert "Traceback" not in said.err


def test_messages_say_where_and_how_to_mend(fail: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fail(errors.InputError("no such key", where="a.toml:1:2", hint="mend it"))
    assert capsys.readouterr().err == "genesys-engine: a.toml:1:2: no such key\n  help: mend it\n"
    fail(OSError(errno.ENOSPC, "No space left on device", "run.db"))
    assert "run.db: No space left on device\n  help: make room" in capsys.readouterr().err
    fail(KeyboardInterrupt())
    assert capsys.readouterr().err.strip() == "genesys-engine: interrupted"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["init", "{file}/x.toml"], "{file}/x.toml: Not a directory\n  help: a part of this path"),
        (["plugins", "new", "y", "--kind", "operator", "--out", "{file}/y"], "Not a directory"),
        (["status", "x" * 300], "name is too long"),
        (["run", "{experiment}", "--out", "{file}/run"], "{file} is a file"),
    ],
)
def test_a_path_that_cannot_be_is_bad_input(
    tmp_path: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"file": tmp_path / "file", "experiment": tmp_path / "experiment.toml"}
    places["file"].touch()
    places["experiment"].write_text('[corpus]\nuse = "text"\npaths = "not-there.txt"\n')
    assert main([argument.format(**places) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert told.format(**places) in said
    assert "internal error" not in said


def test_a_full_disk_seen_by_sqlite(tmp_path: Path, fail: Any) -> None:
    base = sqlite3.connect(tmp_path / "small.db")
    base.execute("PRAGMA max_page_count = 2")
    base.execute("CREATE TABLE t (x)")
    with pytest.raises(sqlite3.OperationalError, match="full") as caught:
        base.execute("INSERT INTO t VALUES (zeroblob(100000))")
    assert fail(caught.value) == 4


def test_a_bug_keeps_its_traceback_in_a_file(
    fail: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert fail(ValueError("odd\nsecond line")) == 3
    said = capsys.readouterr().err
    assert "internal error" in said
    assert "a bug in genesys-engine, not in your input" in said
    (kept,) = tmp_path.iterdir()
    assert f"The traceback is in {kept}" in said
    assert "raise raised.pop()" in kept.read_text()
    assert kept.read_text().startswith("genesys-engine ")


def test_a_bug_on_a_full_disk_shows_its_traceback(
    fail: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere/at/all")
    assert fail(ValueError("odd")) == 3
    assert "raise raised.pop()" in capsys.readouterr().err


def test_debug_shows_the_traceback(fail: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(errors.InputError("no"), "--debug") == 2
    assert "raise raised.pop()" in capsys.readouterr().err
    assert fail(ValueError("odd"), "--debug") == 3
    said = capsys.readouterr().err
    assert "raise raised.pop()" in said
    assert "The traceback is in" not in said


# --- output ------------------------------------------------------------------------------------


def test_json_has_a_schema_and_refuses_nan(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"a": [1, None]})
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "data": {"a": [1, None]}}
    with pytest.raises(ValueError, match="JSON"):
        output.print_json({"a": float("nan")})


@pytest.fixture
def chatty() -> Iterator[None]:
    """A command that answers while others print, in its own thread and in another."""

    @cli.command("chatty")
    @output.json_option
    def command(as_json: bool) -> None:
        print("a plugin prints")
        other = threading.Thread(target=print, args=("an operator prints",))
        other.start()
        other.join()
        output.print_json({"a": 1}) if as_json else click.echo("the answer")
        print("a tracker prints")

    yield
    del cli.commands["chatty"]


@pytest.mark.usefixtures("chatty")
def test_what_plugins_print_is_no_part_of_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chatty", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["data"] == {"a": 1}
    assert said.err == "a plugin prints\nan operator prints\na tracker prints\n"
    assert main(["chatty"]) == 0
    said = capsys.readouterr()
    assert said.out == "a plugin prints\nan operator prints\nthe answer\na tracker prints\n"
    assert said.err == ""


def test_plugins_answer_in_json_wherever_it_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments in (["--json"], ["list", "--json"]):
        assert main(["plugins", *arguments]) == 0
        assert json.loads(capsys.readouterr().out)["data"]["components"]
    assert main(["plugins", "--json", "show", "quadrant"]) == 0
    assert "selector quadrant" in capsys.readouterr().out


@pytest.mark.parametrize("width", [40, 80, 120])
def test_tables_fit_and_are_whole_and_clean(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    wide = "x" * 300
    columns = ("name", "value", "never said")
    output.print_table(columns, [("[bold]a[/bold]", wide, None), ("\x1b[31mred", None, "")])
    out = capsys.readouterr().out
    assert wide in out  # nothing is cut, and no word is broken
    assert max(len(line) for line in out.splitlines() if wide not in line) <= width
    assert "never said" not in out
    assert "[bold]a[/bold]" in out  # text of designs and plugins is not markup
    assert "\x1b" not in out  # nor does it steer the terminal
    output.note("to the user")
    assert capsys.readouterr() == ("", "to the user\n")


def test_sentences_are_broken_between_words_and_short_cells_never(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    name, sentence = "hyperparameter_mutation", "a word and another word that follows it " * 4
    path = "/a/folder/that/lies/deep/in/another/one"
    for rows in ([(name, sentence, "")], [(name, sentence, path)]):
        output.print_table(("name", "what", "where"), rows)
        out = capsys.readouterr().out
        assert {name, *sentence.split(), *rows[0][2].split()} <= set(out.split())
        assert max(map(len, out.splitlines())) <= 60


@pytest.mark.parametrize("command", [("plugins",), ("plugins", "show", "quadrant"), ("doctor",)])
def test_lists_fit_eighty_columns_with_no_word_broken(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    main(command)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    words = {word for line in lines for word in line.split()}
    assert not {"batch_token…", "desi…"} & words


def test_plugins_wide_and_csv_have_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "--wide"]) == 0
    assert "exploration: number = 0.2" in capsys.readouterr().out
    assert main(["plugins", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert "exploration: number = 0.2" in {row["name"]: row for row in rows}["quadrant"]["options"]


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (("data", "fetch", "engish"), "'english'"),
        (("data", "fetsh"), "'fetch'"),
        (("knowledge", "serch"), "'search'"),
        (("llm", "usge"), "'usage'"),
        (("plugins", "shw"), "'show'"),
        (("config", "shema"), "'schema'"),
        (("plugins", "new", "x", "--kind", "oprator"), "'operator'"),
    ],
)
def test_a_misspelt_command_or_choice_is_answered_with_a_near_one(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], near: str
) -> None:
    assert main(arguments) == 2
    assert f"did you mean {near}" in capsys.readouterr().err


# --- init, validate ----------------------------------------------------------------------------


def test_init_writes_a_valid_experiment_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.toml"
    assert main(["init", str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    before = path.read_text()
    assert main(["validate", str(path)]) == 0
    assert (
        "is valid: 5 seeds, up to 20 children, 29 verifications at 0.2M" in capsys.readouterr().out
    )
    assert main(["init", str(path)]) == 2
    assert "already exists" in capsys.readouterr().err
    assert path.read_text() == before
    assert main(["init", str(tmp_path)]) == 0
    assert (tmp_path / "experiment.toml").read_text() == before
    assert main(["init", str(tmp_path / "no" / "x.toml")]) == 2
    assert "the folder does not exist" in capsys.readouterr().err


BAD = {
    "missing key": ("[[ladder.rungs]]\nverifications = 9\n", "1:10", "missing key 'scale'"),
    "misspelt key": ("[run]\nsede = 1\n", "2:1", "did you mean 'seed'?"),
    "wrong type": ('[run]\nworkers = "2"\n', "2:11", "must be a valid integer"),
    "unknown plugin": ('[trainer]\nuse = "tensorflow"\n', "2:7", "unknown trainer"),
    "negative budget": ("[budget]\ndesigns = -1\n", "2:11", "greater than or equal to 1"),
    "syntax": ("[run]\nseed = = 1\n", "2:8", "not TOML"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_experiments(case: str, tmp_path: Path) -> None:
    text, place, message = BAD[case]
    path = tmp_path / "bad.toml"
    path.write_text(text)
    done = program("validate", str(path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"genesys-engine: {path}:{place}: " in done.stderr
    assert message in done.stderr
    assert "^" in done.stderr


def test_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(tmp_path / "none.toml")]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path}/none.toml: no such file" in said
    assert "genesys-engine init" in said


def test_a_bad_override(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "fine.toml"
    path.write_text("")
    assert main(["validate", str(path), "--set", "run.wrkers=2", "--set", "run.seed=-1"]) == 2
    said = capsys.readouterr().err
    assert "--set run.wrkers=2: unknown key 'wrkers' in [run]" in said
    assert "--set run.seed=-1: run.seed must be greater than or equal to 0, not -1" in said
    assert "2 faults" in said


def test_validate_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[run]\nsede = 1\n")
    assert main(["validate", str(path), "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert (answer["schema"], answer["data"]["valid"]) == (1, False)
    (problem,) = answer["data"]["problems"]
    assert (problem["line"], problem["column"], problem["source"]) == (2, 1, str(path))
    path.write_text("[run]\nseed = 1\n")
    assert main(["validate", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["valid"] is True


# --- doctor ------------------------------------------------------------------------------------


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["data"]}
    assert rows["python"]["status"] == "ok"
    assert {"torch", "pluggy", "cores", "memory", "disk here", "torch device"} <= set(rows)
    assert any(name.startswith("isolation: ") for name in rows)
    assert code == (4 if any(row["status"] == "fail" for row in rows.values()) else 0)
    assert all(row["fix"] for row in rows.values() if row["status"] != "ok")


def test_doctor_fails_with_the_way_to_mend_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from genesys_engine.engine.cli import doctor

    needs = ["pluggy>=99", "a-package-that-is-not-there>=1", 'click>=1; python_version < "3"']
    monkeypatch.setattr(doctor, "_requirements", lambda: needs)
    monkeypatch.setattr(doctor, "_torch", lambda: iter(()))
    assert main(["doctor"]) == 4
    out = capsys.readouterr().out
    assert "pip install 'pluggy>=99'" in out
    assert "pip install 'a-package-that-is-not-there>=1'" in out
    assert "click" not in out
