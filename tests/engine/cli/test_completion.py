"""Shell completion: what is offered, and that real shells show it after TAB."""

import importlib.util
import os
import pty
import select
import shutil
import sys
import time
from pathlib import Path

import commands
import pytest
from sample_run import make_run

from genesys_engine.engine.cli import completing

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
VARIABLE = "_GENESYS_ENGINE_COMPLETE"
LIGHT = {"torch", "pydantic", "rich", "numpy", "deap"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a finished run, one that is none, and odd names."""
    folder = tmp_path_factory.mktemp("work")
    make_run(folder / "runs/quickstart")
    (folder / "runs/notes").mkdir()
    (folder / "runs/damaged").mkdir()
    (folder / "runs/damaged/run.sqlite").write_bytes(b"no database" * 500)
    return folder


def offered(folder: Path, *words: str) -> list[str]:
    """Return what click's script for bash is answered for the last of these words."""
    env = {
        **os.environ,
        VARIABLE: "bash_complete",
        "COMP_WORDS": " ".join(["genesys-engine", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = commands.run([BIN / "genesys-engine"], cwd=folder, env=env, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.removeprefix("plain,") for line in done.stdout.split("\n") if line]


def test_commands_options_and_choices(folder: Path) -> None:
    assert offered(folder, "lead") == ["leaderboard"]
    assert "--format" in offered(folder, "check", "--f")
    assert offered(folder, "check", "--format", "s") == ["sarif"]


def test_runs_and_their_designs(folder: Path) -> None:
    assert offered(folder, "show", "runs/") == ["runs/damaged", "runs/quickstart"]
    assert offered(folder, "show", "ru") == ["runs/damaged", "runs/quickstart"]
    assert offered(folder, "show", "runs/q") == ["runs/quickstart"]
    assert offered(folder, "status", "runs/n") == ["dir,runs/n"], "the shell goes on by itself"
    assert offered(folder, "show", "runs/quickstart", "ret") == ["retnet"]
    assert "13" in offered(folder, "export", "runs/quickstart", "1")
    assert offered(folder, "show", "runs/damaged", "1") == []
    assert offered(folder, "show", "runs/nowhere", "1") == []


def test_keys_and_components(folder: Path) -> None:
    assert offered(folder, "run", "x.toml", "--set", "budget.d") == [
        "budget.designs=",
        "budget.device_hours=",
    ]
    assert "ladder.rungs.0.tokens=" in offered(folder, "plan", "x.toml", "--set", "ladder.")
    assert "trainer.peak_lr=" in offered(folder, "plan", "x.toml", "--set", "trainer.p")
    assert offered(folder, "plugins", "show", "typed_c") == ["typed_crossover"]


def test_the_keys_are_current() -> None:
    spec = importlib.util.spec_from_file_location("page", ROOT / "docs/experiment_page.py")
    assert spec is not None
    assert spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    written = completing.KEYS.read_text(encoding="utf-8")
    assert written == page.keys(), "write them again: python docs/experiment_page.py"


@pytest.mark.parametrize(
    "words", ["show runs/", "show runs/quickstart 1", "run x.toml --set budget."]
)
def test_nothing_heavy_is_imported(folder: Path, words: str) -> None:
    """Processor time is for people to look at; what is imported decides it."""
    code = (
        "import sys; from genesys_engine.engine.cli import main\n"
        "try: main()\n"
        f"except SystemExit: print('heavy', sorted({LIGHT!r} & set(sys.modules)))"
    )
    env = {
        **os.environ,
        VARIABLE: "bash_complete",
        "COMP_WORDS": f"genesys-engine {words}",
        "COMP_CWORD": str(len(words.split())),
    }
    done = commands.run([sys.executable, "-c", code], cwd=folder, env=env)
    assert done.stdout.endswith("heavy []\n"), done.stdout + done.stderr


START = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$({var}=bash_source genesys-engine)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -Uz compinit; compinit -u -D; eval "$({var}=zsh_source genesys-engine)"',
    ),
    "fish": (["fish", "--no-config", "-i"], "{var}=fish_source genesys-engine | source"),
}


@pytest.mark.slow
@pytest.mark.parametrize("shell", START)
@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("genesys-engine show runs/q\t", "runs/quickstart"),
        ("genesys-engine run x.toml --set budget.dev\t7", "budget.device_hours="),
    ],
    ids=["a run", "a key"],
)
def test_a_real_shell_completes(folder: Path, shell: str, typed: str, shown: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    command, source = START[shell]
    screen = Screen(folder, command)
    try:
        screen.type(source.format(var=VARIABLE) + "; echo re''ady\n", until="ready")
        screen.type(typed, until=shown)
        if shell == "bash" and shown.endswith("="):
            screen.type("", until=f"{shown}7")  # no blank between key and value
    finally:
        screen.close()


class Screen:
    """A shell on a terminal of its own."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self._seen = ""
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            env = {
                "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
                "HOME": str(folder),
                "TERM": "dumb",
                "PS1": "$ ",
            }
            os.chdir(folder)
            os.execvpe(command[0], command, env)

    def type(self, text: str, *, until: str, patience_s: float = 90.0) -> None:
        """Type text and wait until the screen shows something."""
        self._seen = "" if text else self._seen
        os.write(self._terminal, text.encode())
        end = time.monotonic() + patience_s
        while until not in self._seen:
            assert time.monotonic() < end, self._seen
            if select.select([self._terminal], [], [], 0.5)[0]:
                self._seen += os.read(self._terminal, 4096).decode(errors="replace")

    def close(self) -> None:
        """End the shell."""
        os.kill(self._pid, 9)
        os.waitpid(self._pid, 0)
        os.close(self._terminal)
