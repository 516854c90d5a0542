"""A byte order mark at the beginning of an input file, and half a surrogate pair in one."""

from __future__ import annotations

import codecs
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_process import engine

from genesys_engine.engine.compare.proposals import read_proposals
from genesys_engine.engine.config import ConfigError, load_experiment
from genesys_engine.gab.errors import InputError
from genesys_engine.operators.llm.options import ImplementerOptions
from genesys_engine.operators.llm.templates import Templates
from genesys_engine.plugins.evaluators.task_names import task_metrics
from genesys_engine.plugins.knowledge.sources import bibtex, jsonlines
from genesys_engine.plugins.knowledge.sources.library import CARDS, read_card
from genesys_engine.plugins.llm.recording import read_recording, write_recording
from genesys_engine.plugins.local import find_local

REPOSITORY = Path(__file__).parents[3]
PROPOSAL = next((REPOSITORY / "experiments" / "proposals").glob("*.json"))
PROJECT = '[project]\nname = "mine"\n[project.entry-points.genesys_engine]\nmine = "mine"\n'


def marked(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(codecs.BOM_UTF8 + text.encode())
    return path


def recording(folder: Path) -> list[dict[str, Any]]:
    write_recording(folder / "a.jsonl", [{"digest": "d"}])
    return list(read_recording(marked(folder / "b.jsonl", (folder / "a.jsonl").read_text())))


def proposal(folder: Path) -> Any:
    marked(folder / "proposals" / PROPOSAL.name, PROPOSAL.read_text())
    return read_proposals(folder / "proposals")


def project(folder: Path) -> Any:
    (folder / "mine.py").write_text("")
    return find_local(marked(folder / "pyproject.toml", PROJECT).parent)


def template(folder: Path) -> str:
    marked(folder / "coder.j2", "Write {{ meaning }}.")
    return Templates(ImplementerOptions(prompts=str(folder))).render("coder", {"meaning": "it"})


def card(folder: Path) -> str:
    source = sorted(CARDS.glob("*.md"))[0]
    shutil.copyfile(source, folder / "plain.md")
    first, second = (
        read_card(folder / "plain.md"),
        read_card(marked(folder / "a.md", source.read_text())),
    )
    assert first == second
    return first.id


READERS: dict[str, tuple[Callable[[Path], Any], Callable[[Any], bool]]] = {
    "experiment": (
        lambda folder: load_experiment(marked(folder / "a.toml", '[population]\nseeds = ["gpt"]')),
        lambda read: read.population.seeds == ("gpt",),
    ),
    "recording": (recording, lambda read: read == [{"digest": "d"}]),
    "proposal": (proposal, lambda read: read[0].name == PROPOSAL.stem),
    "project": (project, lambda read: read[0].name == "mine"),
    "template": (template, lambda read: read == "Write it.\n"),
    "card": (card, bool),
    "bibliography": (
        lambda folder: list(bibtex.read(marked(folder / "a.bib", "@misc{a, title = {A}}"))),
        lambda read: [one.title for one in read] == ["A"],
    ),
    "lines": (
        lambda folder: list(jsonlines.read(marked(folder / "a.jsonl", '{"title": "A"}'))),
        lambda read: [one.title for one in read] == ["A"],
    ),
    "task": (
        lambda folder: task_metrics(marked(folder / "a.yaml", "metric_list: [{metric: acc}]\n")),
        lambda read: read == ["acc"],
    ),
}


@pytest.mark.parametrize("kind", READERS)
def test_a_byte_order_mark_is_no_part_of_an_input(tmp_path: Path, kind: str) -> None:
    read, right = READERS[kind]
    assert right(read(tmp_path))


def test_a_fault_behind_a_byte_order_mark_has_its_place(tmp_path: Path) -> None:
    file = marked(tmp_path / "a.toml", "[population]\nseeds = 3\n")
    with pytest.raises(ConfigError) as caught:
        load_experiment(file)
    (problem,) = caught.value.problems
    assert problem.place is not None
    assert (problem.place.line, problem.place.column, problem.place.text) == (2, 9, "seeds = 3")


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.toml").write_text('[run]\nname = "caf\u00e9"\n', encoding=encoding)
    with pytest.raises(ConfigError, match=r"not UTF-8(.|\n)*save the file as UTF-8"):
        load_experiment(tmp_path / "a.toml")


@pytest.mark.parametrize("value", ['"\\ud83d"', '"""\n\\ud83d"""', '{ use = "\\udfff" }'])
def test_half_a_surrogate_pair_in_an_experiment_has_its_place(tmp_path: Path, value: str) -> None:
    (tmp_path / "a.toml").write_text(f"[run]\nseed = 1\nname = {value}\n")
    with pytest.raises(ConfigError) as caught:
        load_experiment(tmp_path / "a.toml")
    (problem,) = caught.value.problems
    assert problem.place is not None
    assert problem.place.line >= 3


def test_half_a_surrogate_pair_in_a_proposal_is_named(tmp_path: Path) -> None:
    data = json.loads(PROPOSAL.read_text())
    data["proposal"]["title"] = "cut \ud83d"
    (tmp_path / "a.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="surrogate") as caught:
        read_proposals(tmp_path)
    assert caught.value.where == str(tmp_path / "a.json")


def test_an_override_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("")
    done = engine("validate", tmp_path / "a.toml", "--set", "run.name=caf\udce9")
    assert done.code == 2, done.err
    assert "--set run.name=caf\\udce9" in done.err
    assert "not UTF-8" in done.err
