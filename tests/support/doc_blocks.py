"""Runs the code blocks of a page of the docs, in their order, as a reader would.

* ```` ```bash ````      commands; each line ends with code 0
* ```` ```console ````   `$ command`, then its output; a line `...` stands for any lines, and `...`
  within a line for anything.  Whitespace at the ends of lines does not count
* ```` ```python ````    a script of its own
* ```` ```toml ````      an experiment, or a part of one, that is read
* ```` ```json ````, ```` ```yaml ````   parsed
* any block below a line that holds a path in backquotes alone is a file, which is written

A comment in the line above a block changes that:

* `<!-- run: skip, REASON -->`            it is not run
* `<!-- run: exit 2 -->`                  its last command ends with this code
* `<!-- run: exhaustive, MORE WORDS -->`  only where `exhaustive` is set; the words are added to the
  command, to cut what takes long
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import commands
import tomli
import yaml

from genesys_engine.engine.config import load_experiment

RUNS = ("bash", "console", "python")
READ = ("toml", "json", "yaml")
_BLOCK = re.compile(
    r"^(?:`(?P<file>[\w./-]+)`\n\n)?(?:<!-- run: (?P<how>.+?) -->\n)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.M | re.S,
)
_STARTING = re.compile(r"genesys-engine [a-z]+: starting")  # what a slow command says
_HOW = re.compile(r"(?P<word>skip|exit|exhaustive)(?:,? (?P<more>.+))?")


class DocsError(AssertionError):
    """A block of a page does not do what the page says."""


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, what is in it, and how it is run."""

    place: str
    language: str
    text: str
    file: str
    word: str
    more: str


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page.

    Raises:
        DocsError: a comment says something else than the above, or a skip gives no reason.
    """
    text, found = page.read_text(encoding="utf-8"), []
    for block in _BLOCK.finditer(text):
        place = f"{page.name}:{text.count(chr(10), 0, block.start('language')) + 1}"
        how = _HOW.fullmatch(block["how"] or "skip, x")
        if how is None or (how["word"] != "exhaustive" and not how["more"]):
            raise DocsError(f"{place}: unknown or incomplete comment {block['how']!r}")
        word, more = (how["word"], how["more"] or "") if block["how"] else ("", "")
        found.append(
            Block(place, block["language"], block["text"], block["file"] or "", word, more)
        )
    if len(found) * 2 != len(re.findall(r"^```", text, re.M)):
        raise DocsError(f"{page.name}: a block that is not closed, or is indented")
    comments = len(re.findall(r"<!-- run:", text))
    if comments != sum(bool(block.word) for block in found):
        raise DocsError(f"{page.name}: a comment that stands above no block")
    return found


@dataclass(frozen=True)
class Walk:
    """A reader's working folder, and what is on the path there."""

    folder: Path
    exhaustive: bool = False
    timeout_s: float = 240.0

    def follow(self, page: Path) -> int:
        """Do what a page says; return how many commands were run.

        Raises:
            DocsError: something went otherwise than the page says.
        """
        return sum(self._do(block) for block in blocks(page))

    def _do(self, block: Block) -> int:
        if block.file:
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            return 0
        if block.word == "skip" or (block.word == "exhaustive" and not self.exhaustive):
            return 0
        if block.language in READ:
            self._read(block)
            return 0
        if block.language not in RUNS:
            raise DocsError(f"{block.place}: a block of the language {block.language!r}")
        steps = list(_steps(block))
        for number, (command, expected) in enumerate(steps, 1):
            last = block.word == "exit" and number == len(steps)
            self._run(block, command, expected, int(block.more) if last else 0)
        return len(steps)

    def _read(self, block: Block) -> None:
        try:
            if block.language == "json":
                for line in block.text.splitlines():
                    json.loads(line)
            elif block.language == "yaml":
                yaml.safe_load(block.text)
            else:
                tomli.loads(block.text)
                path = self.folder / "fragment.toml"
                path.write_text(block.text, encoding="utf-8")
                load_experiment(path)
        except Exception as error:
            raise DocsError(f"{block.place}: {error}") from error

    def _run(self, block: Block, command: Sequence[str], expected: str | None, code: int) -> None:
        bin_ = str(Path(sys.executable).parent)
        env = {**os.environ, "PATH": os.pathsep.join([bin_, os.environ["PATH"]])}
        done = commands.run(
            command,
            cwd=self.folder,
            env={**env, "OMP_NUM_THREADS": "1"},
            timeout=self.timeout_s,
        )
        said = f"{block.place}: {command[-1].strip()}\n{done.stdout}{done.stderr}"
        # A run may end with 1: no child was better.  That is no fault of the page.
        allowed = {0, 1} if block.word == "exhaustive" else {code}
        if done.returncode not in allowed:
            raise DocsError(f"exit code {done.returncode} in place of {code} at {said}")
        if expected is not None and not re.fullmatch(
            _pattern(expected), _stripped(done.stdout + done.stderr), re.S
        ):
            raise DocsError(f"another output than the page shows at {said}")


def _steps(block: Block) -> Iterator[tuple[list[str], str | None]]:
    """Yield the commands of a block, each with the output that the page shows of it."""
    if block.language == "python":
        yield [sys.executable, "-c", block.text], None
        return
    more = (
        f" {shlex.join(shlex.split(block.more, posix=False))}" if block.word == "exhaustive" else ""
    )
    if block.language == "bash":
        for line in filter(None, map(str.strip, block.text.splitlines())):
            yield _shell(line.partition("  #")[0] + more), None
        return
    parts = re.split(r"^\$ ", block.text, flags=re.M)
    if parts[0].strip():
        raise DocsError(f"{block.place}: output before the first `$ command`")
    for part in parts[1:]:
        command, _, output = part.partition("\n")
        yield _shell(command + more), output


def _shell(command: str) -> list[str]:
    return ["bash", "-euo", "pipefail", "-c", command]


def _pattern(expected: str) -> str:
    """Return the regular expression of an output in which `...` stands for anything."""
    return ".*".join(map(re.escape, _stripped(expected).split("...")))


def _stripped(text: str) -> str:
    lines = (line.rstrip() for line in text.splitlines())
    return "\n".join(line for line in lines if not _STARTING.fullmatch(line)).strip()
