"""Cards and files: what is read, and what is told of what cannot be."""

import gzip
import json
import re

import pypdf
import pytest
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from genesys_engine.gab import library
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.knowledge.documents import Document
from genesys_engine.plugins.knowledge.sources.folder import FolderSource
from genesys_engine.plugins.knowledge.sources.library import CARDS, LibrarySource, read_card
from genesys_engine.plugins.knowledge.sources.options import FolderOptions, LibraryOptions

MAMBA = """---
key: mamba2
title: "Mamba-2: state space duality"
authors: [Tri Dao, Albert Gu]
year: 2024
arxiv: "2405.21060"
interface: sequence_mixer
unit: mamba2_mixer
tags: [state space, chunked]
---
A scalar decay per head turns the scan into masked matrix products.
"""
RETNET = """---
key: retnet
title: Retention
authors: ["Yutao Sun"]
year: 2023
---
Decay in place of softmax.
"""
ROTARY = """---
key: rotary
title: Rotary positions
authors: [Jianlin Su]
year: 2021
arxiv: "2104.09864"
unit: rotary
tags: []
---
Queries and keys are rotated.
"""


def fetch(source, place=""):
    """Return (documents, errors)."""
    found = list(source.fetch(str(place)))
    documents = [one for one in found if isinstance(one, Document)]
    return documents, [str(one) for one in found if isinstance(one, InputError)]


@pytest.fixture
def cards(tmp_path):
    for name, text in {"mamba2": MAMBA, "retnet": RETNET, "rotary": ROTARY}.items():
        (tmp_path / f"{name}.md").write_text(text, encoding="utf-8")
    return tmp_path


# --- cards -------------------------------------------------------------------------------------


def test_a_card_becomes_a_document(cards):
    card = read_card(cards / "mamba2.md")
    assert (card.id, card.source, card.unit) == ("library:mamba2", "library", "mamba2_mixer")
    assert (card.year, card.arxiv) == (2024, "2405.21060")
    assert card.authors == ("Tri Dao", "Albert Gu")
    assert card.tags == ("state space", "chunked", "sequence_mixer")
    assert card.text.startswith("A scalar decay")


def test_all_cards_or_one(cards):
    source = LibrarySource(LibraryOptions(folder=str(cards)))
    assert [d.id for d in fetch(source)[0]] == [
        "library:mamba2",
        "library:retnet",
        "library:rotary",
    ]
    assert [d.title for d in fetch(source, "retnet")[0]] == ["Retention"]
    with pytest.raises(InputError, match="no such card"):
        fetch(source, "nothing")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no front matter", r"card\.md:1: has no front matter"),
        (MAMBA.replace("year: 2024", "year: soon"), "year: "),
        (MAMBA.replace("tags:", "tag:"), "tag: Extra inputs are not permitted"),
        (MAMBA.replace("[Tri Dao, Albert Gu]", "[Tri Dao"), r"card\.md:\d+: wrong front matter"),
        (MAMBA.replace('"2405.21060"', "2405.21060"), "arxiv: Input should be a valid string"),
        (MAMBA.replace("key: mamba2", "key: Mamba 2"), "key: String should match"),
        (MAMBA.replace("mamba2", "retnet"), r"has the key of a\.md"),
    ],
)
def test_a_faulty_card_is_reported_and_the_others_are_read(tmp_path, text, told):
    (tmp_path / "a.md").write_text(RETNET, encoding="utf-8")
    (tmp_path / "card.md").write_text(text, encoding="utf-8")
    documents, errors = fetch(LibrarySource(LibraryOptions(folder=str(tmp_path))))
    assert [document.id for document in documents] == ["library:retnet"]
    assert len(errors) == 1
    assert re.search(told, errors[0])


def test_the_cards_that_ship_are_sound_and_name_units_that_exist():
    documents, errors = fetch(LibrarySource())
    assert errors == []
    assert len(documents) == len(list(CARDS.glob("*.md")))
    for document in documents:
        assert document.text, document.id
        if document.unit:
            library.unit(document.unit)  # raises where there is none


# --- files -------------------------------------------------------------------------------------


def write_pdf(path, text, title=None, password=None):
    """Write a one-page PDF with real text operators, or an empty page."""
    writer = pypdf.PdfWriter()
    page = writer.add_blank_page(300, 300)
    if text:
        font = DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Font"),
                NameObject("/Subtype"): NameObject("/Type1"),
                NameObject("/BaseFont"): NameObject("/Helvetica"),
            }
        )
        fonts = DictionaryObject({NameObject("/F1"): writer._add_object(font)})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode())
        page[NameObject("/Contents")] = writer._add_object(stream)
    if title:
        writer.add_metadata({"/Title": title})
    if password:
        writer.encrypt(password)
    writer.write(path)
    return path


def test_markdown_and_text_with_their_titles(tmp_path):
    (tmp_path / "b.md").write_text("intro\n\n# Gated scans #\n\ntext\n", encoding="utf-8")
    (tmp_path / "a_note.txt").write_text("# no heading here\n", encoding="utf-8")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.markdown").write_text("plain", encoding="utf-8")
    (tmp_path / ".hidden.md").write_text("# hidden", encoding="utf-8")
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    documents, errors = fetch(FolderSource(), tmp_path)
    assert [d.title for d in documents] == ["a note", "Gated scans", "c"]
    assert errors == []


def test_a_pdf_is_read_with_its_title(tmp_path):
    path = write_pdf(tmp_path / "x.pdf", "Retention with a gate per head.", title="A paper")
    ((document,), _) = fetch(FolderSource(), path)
    assert (document.title, document.text) == ("A paper", "Retention with a gate per head.")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("scan.pdf", "holds no text (pages: 1)"),
        ("locked.pdf", "is encrypted"),
        ("torn.pdf", "is not a readable PDF"),
        ("no.pdf", "is not a readable PDF"),
        ("empty.md", "is empty"),
        ("latin.txt", "is not UTF-8 text"),
        ("huge.txt", "has 1,000 MB, more than 64 MB"),
        ("huge.pdf", "has 1,000 MB, more than 64 MB"),
        ("huge.jsonl", "a line of more than 4,000,000 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_reported_and_the_others_continue(tmp_path, name, told):
    (tmp_path / "good.md").write_text("# Good\n\ntext", encoding="utf-8")
    path = tmp_path / name
    if name.startswith("huge"):
        with path.open("wb") as file:
            file.truncate(1_000_000_000)
    elif name == "torn.pdf":
        whole = write_pdf(path, "Some text that is long enough.").read_bytes()
        path.write_bytes(whole[: len(whole) // 3])
    else:
        {
            "scan.pdf": lambda: write_pdf(path, ""),
            "locked.pdf": lambda: write_pdf(path, "Secret text of some length.", password="x"),
            "no.pdf": lambda: path.write_bytes(b"hello"),
            "empty.md": lambda: path.write_text(" \n", encoding="utf-8"),
            "latin.txt": lambda: path.write_bytes(b"caf\xe9"),
        }[name]()
    documents, errors = fetch(FolderSource(), tmp_path)
    assert [document.title for document in documents] == ["Good"]
    assert len(errors) == 1
    assert told in errors[0]
    assert name in errors[0]


BIBTEX = r"""
@article{dao2024, title = {Transformers are {SSMs}}, author = {Dao, Tri and Albert Gu},
  year = 2024, eprint = {2405.21060}, archivePrefix = {arXiv}, journal = {ICML},
  abstract = {Duality of attention and state spaces, G\"odel}}
@article{broken, title = {never closed, year = 2020
@misc{second, title = "Second", year = "no year"}
@misc{second, title = "again"}
@misc{untitled, author = {Nobody}}
"""


def test_bibtex_entries_and_what_is_broken_in_them(tmp_path):
    path = tmp_path / "refs.bib"
    path.write_text(BIBTEX, encoding="utf-8")
    documents, errors = fetch(FolderSource(), path)
    first, second = documents
    assert first.title == "Transformers are SSMs"
    assert first.text == "Duality of attention and state spaces, Gödel\n\nICML"
    assert first.authors == ("Tri Dao", "Albert Gu")
    assert (first.year, first.arxiv, second.year) == (2024, "2405.21060", None)
    assert len(errors) == 3
    assert "refs.bib:5: broken entry left out" in errors[0]
    assert "Duplicate entry key 'second'" in errors[1]
    assert "'untitled' has no title" in errors[2]


LINES = [
    json.dumps(
        {"id": "a", "title": "One", "abstract": "text", "year": 2020, "arxiv": "2405.21060"}
    ),
    "{broken",
    "",
    "[1, 2]",
    json.dumps({"text": "only text", "authors": [{"name": "A. B."}, "C. D."]}),
    json.dumps({"year": 3}),
    '{"title": "\\ud800 lone"}',
]


@pytest.mark.parametrize("zipped", [False, True])
def test_json_lines_plain_and_gzipped(tmp_path, zipped):
    path = tmp_path / ("p.jsonl.gz" if zipped else "p.jsonl")
    data = "\n".join(LINES).encode()
    path.write_bytes(gzip.compress(data) if zipped else data)
    documents, errors = fetch(FolderSource(), path)
    assert [d.id.rpartition("#")[2] for d in documents] == ["a", "5", "7"]
    assert (documents[0].arxiv, documents[1].authors) == ("2405.21060", ("A. B.", "C. D."))
    assert [e.split(": ")[0].rpartition(":")[2] for e in errors] == ["2", "4", "6"]


def test_a_torn_gzip_file_keeps_what_came_before(tmp_path):
    path = tmp_path / "p.jsonl.gz"
    lines = "\n".join(json.dumps({"title": f"T{n}", "text": str(n) * 50}) for n in range(3000))
    whole = gzip.compress(lines.encode())
    path.write_bytes(whole[: len(whole) // 2])
    documents, errors = fetch(FolderSource(), path)
    assert 0 < len(documents) < 3000
    assert "damaged gzip file" in errors[-1]


def test_a_line_that_is_too_long_is_left_out_and_the_next_is_read(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{"text": "{"x" * 5000}"}}\n{{"title": "next"}}\n', encoding="utf-8")
    documents, errors = fetch(FolderSource(FolderOptions(max_line_mb=0.002)), path)
    assert [d.title for d in documents] == ["next"]
    assert "a line of more than 2,000 bytes" in errors[0]


@pytest.mark.parametrize("name", ["missing", "image.png", "folder"])
def test_a_place_without_anything_to_read_is_an_error(tmp_path, name):
    (tmp_path / "image.png").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"no such file|cannot be read|no \.md"):
        fetch(FolderSource(), tmp_path / name)
