"""`genesys-engine knowledge` from the command line."""

import json
import os

import pytest
from sample_run import make_run
from service import serving

from genesys_engine.engine.cli import main
from genesys_engine.plugins.knowledge.sources.library import CARDS


@pytest.fixture
def ask(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("GENESYS_KNOWLEDGE", str(tmp_path / "base"))
    monkeypatch.setenv("GENESYS_CACHE", str(tmp_path / "cache"))

    def call(*arguments, code=0):
        told = main(["knowledge", *(str(argument) for argument in arguments)])
        answer = capsys.readouterr()
        assert told == code, answer.err
        return answer

    return call


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text("# Gated zebra\n\nA gate on zebra heads.", encoding="utf-8")
    (folder / "b.txt").write_text("token shift mixes neighbours", encoding="utf-8")
    return folder


def data(answer):
    told = json.loads(answer.out)
    assert told["schema"] == 1
    return told["data"]


def test_add_search_list_and_stats(ask, notes):
    assert "2 added, 0 updated, 0 unchanged" in ask("add", notes).out
    assert data(ask("add", notes, "--json"))["unchanged"] == 2
    found = data(ask("search", "zebra gate", "--json"))
    assert (found[0]["title"], found[0]["rank"]) == ("Gated zebra", 1)
    assert "Gated zebra" in ask("search", "zebra gate", "--limit", 1).out
    mine = data(ask("list", "--source", "folder", "--json"))
    assert sorted(entry["title"] for entry in mine) == ["Gated zebra", "b"]
    stats = data(ask("stats", "--json"))
    assert stats["sources"]["folder"] == 2
    assert (stats["embedding"], stats["dimension"]) == ("hashed", 2048)
    assert "hashed" in ask("stats").out


def test_the_shipped_cards_are_loaded_and_found(ask):
    cards = len(list(CARDS.glob("*.md")))
    assert cards >= 109
    assert data(ask("add", "library", "--json"))["unchanged"] == cards  # a new base has them
    assert data(ask("stats", "--json"))["sources"] == {"library": cards}
    found = data(ask("search", "gated linear attention", "--json"))
    assert len(found) == 10
    assert (found[0]["id"], found[0]["unit"]) == ("library:gla", "gated_linear_attention")


@pytest.mark.parametrize(
    ("query", "card"),
    [
        ("Mamba-2", "mamba2"),
        ("gla", "gla"),
        ("RoPE", "roformer"),
        ("mixture of experts", "sparse_moe"),
        ("retnet", "retnet"),
        ("Gated Delta Networks: Improving Mamba2 with Delta Rule", "gated_deltanet"),
        ("flashattention", "flashattn"),
    ],
)
def test_a_card_that_is_called_so_comes_first(ask, query, card):
    first = data(ask("search", query, "--json"))[0]
    assert first["id"] == f"library:{card}"


def test_one_bad_file_is_told_the_rest_is_added_and_the_exit_code_says_so(ask, notes):
    (notes / "c.pdf").write_bytes(b"nonsense")
    answer = ask("add", notes, code=1)
    assert "2 added, 0 updated, 0 unchanged, 1 left out" in answer.out
    assert "c.pdf" in answer.err
    again = data(ask("add", notes, "--json", code=1))
    assert (again["unchanged"], len(again["problems"])) == (2, 1)


@pytest.mark.parametrize(
    ("line", "added", "told"),
    [
        ('{"id": "\\ud800", "title": "Odd"}', 3, ""),
        ('{"url": "http://x/\\udfff", "title": "Odd"}', 3, ""),
        ("[" * 100_000 + "]" * 100_000, 2, "papers.jsonl:2: not a JSON line: it is nested"),
        ('{"title": ' + "[" * 100_000 + "]" * 100_000 + "}", 2, "papers.jsonl:2: not a JSON line"),
    ],
    ids=["id", "url", "deep", "deep field"],
)
def test_an_odd_line_does_not_end_the_adding(ask, tmp_path, line, added, told):
    path = tmp_path / "papers.jsonl"
    path.write_text(f'{{"title": "First"}}\n{line}\n{{"title": "Last"}}\n', encoding="utf-8")
    answer = ask("add", path, code=1 if told else 0)
    assert f"{added} added" in answer.out
    assert told in answer.err
    assert len(data(ask("list", "--source", "folder", "--json"))) == added


def test_a_place_that_has_nothing_ends_no_other(ask, notes, tmp_path):
    """Each failure is named, in its place; all others are added, and the summary is printed."""
    missing, unknown = tmp_path / "nothing.bib", "arxvi:2405.21060"
    long = "x" * 300
    with serving() as service:
        service.will("<feed xmlns='http://www.w3.org/2005/Atom'></feed>")
        settings = ["--set", f"arxiv.url={service.url}", "--set", "arxiv.interval_s=0"]
        places = [missing, "~nobody/x.md", "arxiv:9999.99999", unknown, long, notes]
        answer = ask("add", *places, *settings, code=1)
    assert "2 added, 0 updated, 0 unchanged, 5 left out" in answer.out
    for told in (f"{missing}: no such file", "~nobody/x.md: no such file", "arxiv:9999.99999: ",
                 "did you mean 'arxiv'", f"{long}: no such file"):  # fmt: skip
        assert told in answer.err
    again = data(ask("add", missing, notes, "--json", code=1))
    assert (again["unchanged"], len(again["problems"])) == (2, 1)


def test_what_a_source_gave_before_it_failed_is_added(ask, notes, tmp_path):
    """An unreachable service among others; a faulty card, and a key that no card has."""
    closed = ["--set", "arxiv.url=http://127.0.0.1:9/", "--set", "arxiv.attempts=1"]
    answer = ask("add", "arxiv:2405.21060", notes, *closed, code=1)
    assert "2 added" in answer.out
    assert "knowledge source arxiv: cannot be used" in answer.err


def test_quotation_marks_are_part_of_a_query(ask):
    phrased = data(ask("search", '"linear attention"', "--json"))
    assert len(phrased) == 10
    assert all("linear attention" in hit["passage"].lower() for hit in phrased[:3])
    for query in ('""', '"', "+linear -softmax", "title:linear", "(linear", "the", "“delta rule”",
                  '"linear attention" and "decay"', "'linear' \\ /*"):  # fmt: skip
        ask("search", query)


def test_a_file_whose_name_is_not_utf_8_is_added(ask, notes):
    (notes / os.fsdecode(b"caf\xe9.md")).write_text("# Coffee", encoding="utf-8")
    assert "3 added" in ask("add", notes).out


def test_a_live_hit_with_lone_surrogates_is_shown(ask):
    row = {"paperId": "p", "title": "\ud800Odd zebra", "authors": [{"name": "A. \udfffB."}]}
    with serving() as service:
        service.will({"data": [row]})
        live = ["--live", "semantic_scholar", "--set", f"semantic_scholar.url={service.url}"]
        found = data(ask("search", "zebra", *live, "--json"))
    (odd,) = (hit for hit in found if hit["source"] == "semantic_scholar")
    assert (odd["title"], odd["authors"]) == ("Odd zebra", ["A. B."])


def test_a_key_that_an_endpoint_repeats_is_not_shown(ask, monkeypatch):
    monkeypatch.setenv("MYSEARCH", "sk-0123456789")
    with serving() as service:
        service.will({"error": "wrong key sk-0123456789"}, status=401)
        named = ["--set", f"web.url={service.url}", "--set", "web.key_variable=MYSEARCH"]
        answer = ask("search", "x", "--live", "web", *named)
    assert "wrong key [key]" in answer.err
    assert "sk-0123456789" not in answer.out + answer.err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["add", "no/such/place"], 2, "no such file or folder"),
        (["add", "arxiv:mamba"], 2, "is not an arXiv identifier"),
        (["add", "arxvi:2405.21060"], 2, "did you mean 'arxiv'"),
        (["add", "web:x"], 2, "url"),
        (["list"], 2, "no knowledge base"),
        (["stats"], 2, "knowledge add library"),
        (["search", "x", "--live", "archive"], 2, "unknown knowledge_source 'archive'"),
        (["search", "x", "--embedding", "nothing"], 2, "unknown embedding"),
        (["search", "x", "--set", "arxvi.url=y"], 2, "did you mean 'arxiv'"),
        (["search", "x", "--limit", "0"], 2, "--limit"),
    ],
)
def test_what_is_wrong_is_told(ask, arguments, code, told):
    answer = ask(*arguments, code=code)
    assert told in answer.err
    assert answer.out == ""


@pytest.mark.parametrize("command", ["add", "search"])
def test_set_is_told_as_an_option_of_a_source(ask, command):
    help_text = ask(command, "--help").out
    assert "--set SOURCE.KEY=VALUE" in help_text
    assert "experiment" not in help_text


def test_an_unreachable_service_is_exit_code_4_and_nothing_is_harmed(ask, notes):
    ask("add", notes)
    closed = ["--set", "arxiv.url=http://127.0.0.1:9/", "--set", "arxiv.attempts=1"]
    answer = ask("add", "arxiv:2405.21060", *closed, code=4)
    assert "knowledge source arxiv: cannot be used" in answer.err
    answer = ask("search", "zebra", "--live", "arxiv", *closed)
    assert "it is left out from now on" in answer.err
    assert "Gated zebra" in answer.out


def test_an_existing_base_keeps_its_embedding(ask, notes):
    ask("add", notes)
    answer = ask("search", "x", "--embedding", "minilm", code=2)
    assert "was made with the embedding hashed" in answer.err


def test_what_a_run_tried(ask, tmp_path):
    run = make_run(tmp_path / "run")
    attempts = data(ask("tried", run, "Replace LayerNorm by RMSNorm", "--limit", 3, "--json"))
    assert len(attempts) == 3
    assert all("Norm" in attempt["idea"] for attempt in attempts)
    assert {"outcome", "summary", "similarity", "parents", "findings"} <= set(attempts[0])
    assert "design " in ask("tried", run, "Replace LayerNorm by RMSNorm").out
    assert "no run here" in ask("tried", tmp_path / "nothing", "x", code=2).err
