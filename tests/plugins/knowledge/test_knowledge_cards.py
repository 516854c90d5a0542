"""Every card of the reference library is well formed and points to a unit that exists."""

from __future__ import annotations

import functools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from genesys_engine.gab import library
from genesys_engine.gab.interfaces import INTERFACES
from genesys_engine.plugins import knowledge
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.knowledge.documents import Document, name_of
from genesys_engine.plugins.knowledge.sources.library import read_card

FOLDER = Path(knowledge.__path__[0]) / "cards"
FILES = sorted(FOLDER.glob("*.md"))
NAMES = [file.stem for file in FILES]
SECTIONS = ["Idea", "Equations", "Cost", "Good for", "Pitfalls"]
REQUIRED = {"key", "title", "authors", "year", "interface", "tags"}
WORDS = range(60, 181)


@functools.cache
def parts(name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the front matter and the sections' texts by heading of a card."""
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    start, head, body = text.split("---\n", 2)
    assert start == ""
    before, *pieces = re.split(r"^## (.+)$", body, flags=re.MULTILINE)
    assert before.strip() == ""
    return yaml.safe_load(head), dict(zip(pieces[::2], pieces[1::2], strict=True))


def test_there_are_enough_cards_and_enough_of_them_with_a_unit() -> None:
    units = {parts(name)[0].get("unit") for name in NAMES} - {None}
    assert len(FILES) >= 60
    assert len(units) >= 25


def test_keys_are_unique_and_name_the_files() -> None:
    assert [parts(name)[0]["key"] for name in NAMES] == NAMES
    assert set(NAMES) == {name for name in NAMES if re.fullmatch(r"[a-z][a-z0-9_]*", name)}


@pytest.mark.parametrize("name", NAMES)
def test_front_matter_is_complete_and_typed(name: str) -> None:
    head, _ = parts(name)
    assert set(head) - {"arxiv", "unit", "aliases"} == REQUIRED
    assert isinstance(head["title"], str)
    assert head["title"]
    assert 1990 <= head["year"] <= 2026
    for field in ("authors", "tags"):
        assert head[field]
        assert all(isinstance(entry, str) and entry.strip() == entry for entry in head[field])
        assert len(set(head[field])) == len(head[field])
    assert head["interface"] in INTERFACES


def test_a_name_belongs_to_one_card_or_to_cards_of_one_paper() -> None:
    """Who asks for a name gets its card first: two cards cannot both be it."""
    cards = [read_card(file) for file in FILES]
    owners: dict[str, set[str]] = {}
    for card in cards:
        for name in card.names:
            owners.setdefault(name, set()).add(card.arxiv or card.id)
    # A unit that serves several cards is the name of each of them.
    units = {name_of(card.unit) for card in cards}
    assert {n: o for n, o in owners.items() if len(o) > 1 and n not in units} == {}


@pytest.mark.parametrize("name", NAMES)
def test_an_arxiv_id_agrees_with_the_year(name: str) -> None:
    """Papers appear on arXiv in the year of their card, or the preprint is up to a year apart."""
    head, _ = parts(name)
    if "arxiv" in head:
        assert re.fullmatch(r"\d{4}\.\d{4,5}", head["arxiv"])
        assert abs(2000 + int(head["arxiv"][:2]) - head["year"]) <= 1
        assert 1 <= int(head["arxiv"][2:4]) <= 12


@pytest.mark.parametrize("name", NAMES)
def test_the_body_has_its_sections_and_length(name: str) -> None:
    _, sections = parts(name)
    assert list(sections) == SECTIONS
    assert all(text.strip() for text in sections.values())
    assert sum(len(text.split()) for text in sections.values()) in WORDS
    equations = [line for line in sections["Equations"].splitlines() if line.strip()]
    assert all(line.startswith("    ") for line in equations)


@pytest.mark.parametrize("name", NAMES)
def test_text_is_plain(name: str) -> None:
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    assert not re.search(r"\\[a-zA-Z]|\$|\t| $", text, flags=re.MULTILINE)
    assert text.endswith("\n")
    for line in text.split("---\n", 2)[2].splitlines():
        assert len(line) <= 100, line


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_exists_and_offers_the_interface_of_its_card(name: str) -> None:
    head, _ = parts(name)
    if "unit" in head:
        assert library.unit(head["unit"]).interface == head["interface"]


@pytest.mark.parametrize("name", NAMES)
def test_a_card_and_its_unit_name_the_same_source(name: str) -> None:
    """Where one unit serves several cards, its docstring names the paper of one of them."""
    head, _ = parts(name)
    if "unit" in head:
        cards = [c for c in NAMES if parts(c)[0].get("unit") == head["unit"]]
        named = {parts(c)[0].get("arxiv") for c in cards}
        assert named & set(re.findall(r"\d{4}\.\d{4,5}", library.unit(head["unit"]).doc))


def test_a_paper_may_have_several_cards_for_several_units_only() -> None:
    pairs = Counter(
        (head["arxiv"], head.get("unit")) for head, _ in map(parts, NAMES) if "arxiv" in head
    )
    assert max(pairs.values()) == 1


def test_the_library_source_gives_every_card_as_its_file_has_it(tmp_path: Path) -> None:
    source = PluginHost().registry.get("knowledge_source", "library").create({}, cache=tmp_path)
    given = list(source.fetch(""))
    assert [one for one in given if not isinstance(one, Document)] == []
    assert [one.id for one in given] == [f"library:{name}" for name in NAMES]
    for name, one in zip(NAMES, given, strict=True):
        head, _ = parts(name)
        assert (one.title, one.year) == (head["title"], head["year"])
        assert (one.arxiv, one.unit) == (head.get("arxiv", ""), head.get("unit", ""))
        assert one.authors == tuple(head["authors"])
        assert one.tags == (*head["tags"], head["interface"])
        assert all(f"## {section}" in one.text for section in SECTIONS)
