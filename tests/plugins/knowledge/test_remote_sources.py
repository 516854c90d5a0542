"""arXiv, Semantic Scholar and web search against a local server that answers in their formats."""

import itertools
import json
import multiprocessing
import socket
import time

import pytest
import service as recorded
from service import serving

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.knowledge import remote
from genesys_engine.plugins.knowledge.remote import SourceUnavailable
from genesys_engine.plugins.knowledge.sources.arxiv import ArxivSource, arxiv_id
from genesys_engine.plugins.knowledge.sources.options import (
    ArxivOptions,
    SemanticScholarOptions,
    WebOptions,
)
from genesys_engine.plugins.knowledge.sources.semantic_scholar import SemanticScholarSource
from genesys_engine.plugins.knowledge.sources.web import WebSource


@pytest.fixture
def service():
    with serving() as one:
        yield one


def arxiv(service, cache, **options):
    settings = {"url": f"{service.url}/api/query", "interval_s": 0.0, **options}
    return ArxivSource(ArxivOptions(**settings), cache=cache)


def scholar(service, cache, **options):
    settings = {"url": f"{service.url}/graph/v1", "interval_s": 0.0, **options}
    return SemanticScholarSource(SemanticScholarOptions(**settings), cache=cache)


def web(service, cache, **options):
    return WebSource(WebOptions(url=service.url, interval_s=0.0, **options), cache=cache)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2405.21060", "2405.21060"),
        ("arXiv:2405.21060v2", "2405.21060"),
        ("https://arxiv.org/pdf/2405.21060v1.pdf", "2405.21060"),
        ("cs/0112017", "cs/0112017"),
        ("math.GT/0309136v1", "math.GT/0309136"),
        ("mamba", None),
        ("10.1145/2405.21060", None),
        ("", None),
    ],
)
def test_arxiv_identifiers_are_recognised(text, expected):
    assert arxiv_id(text) == expected


def test_a_paper_of_arxiv_is_read_from_its_feed(service, tmp_path):
    service.will(recorded.ARXIV)
    (paper,) = arxiv(service, tmp_path).fetch("2405.21060v1")
    assert (paper.id, paper.arxiv, paper.year) == ("arxiv:2405.21060", "2405.21060", 2024)
    assert paper.title.endswith("Efficient Algorithms Through Structured State Space Duality")
    assert paper.text.startswith("A short stand-in")
    assert "\n" not in paper.text
    assert paper.authors == ("Tri Dao", "Albert Gu")
    assert paper.tags == ("cs.LG",)
    path, query, headers, _ = service.asked[0]
    assert (path, query["id_list"]) == ("/api/query", "2405.21060")
    assert headers["User-Agent"].startswith("genesys-engine/")


def test_a_feed_in_its_newer_form_is_read_too(service, tmp_path):
    service.will(recorded.ARXIV_NEWER)
    (paper,) = arxiv(service, tmp_path).fetch("2405.21060")
    assert (paper.id, paper.title, paper.year) == (
        "arxiv:2405.21060",
        "Transformers are SSMs",
        2024,
    )
    assert (paper.authors, paper.tags) == (("Tri Dao",), ("cs.LG",))


def test_who_asks_too_often_is_reported_so(service, tmp_path):
    service.will("Rate exceeded.")
    with pytest.raises(SourceUnavailable, match="Rate exceeded"):
        arxiv(service, tmp_path).search("x", 3)


def test_an_unknown_identifier_is_reported(service, tmp_path):
    service.will(recorded.ARXIV_EMPTY)
    with pytest.raises(InputError, match="knows no such paper"):
        list(arxiv(service, tmp_path).fetch("2405.99999"))


@pytest.mark.parametrize("status", [400, 200])
def test_an_identifier_that_arxiv_refuses_is_reported_with_its_reason(service, tmp_path, status):
    service.will(recorded.ARXIV_ERROR, status=status)
    with pytest.raises(InputError, match="incorrect id format"):
        list(arxiv(service, tmp_path).fetch("9999.99999"))


def test_a_malformed_identifier_is_reported_without_asking(service, tmp_path):
    with pytest.raises(InputError, match=r"not an arXiv identifier(?s:.*)2405\.21060"):
        list(arxiv(service, tmp_path).fetch("mamba"))
    assert service.asked == []


def test_a_search_of_arxiv_carries_words_and_category_and_no_syntax(service, tmp_path):
    service.will(recorded.ARXIV)
    assert len(arxiv(service, tmp_path).search('state "space" AND (x', 5)) == 1
    query = service.asked[0][1]
    assert query["search_query"] == (
        "(all:state AND all:space AND all:AND AND all:x) AND (cat:cs.LG OR cat:cs.CL)"
    )
    assert query["max_results"] == "5"
    service.will(recorded.ARXIV)
    arxiv(service, tmp_path, category="").search('a "linear attention" or ""', 5)
    assert service.asked[1][1]["search_query"] == 'all:a AND all:"linear attention" AND all:or'


def test_an_answer_is_kept_and_not_asked_for_again(service, tmp_path):
    service.will(recorded.ARXIV)
    first = list(arxiv(service, tmp_path).fetch("2405.21060"))
    assert list(arxiv(service, tmp_path).fetch("2405.21060")) == first
    assert len(service.asked) == 1
    assert list(arxiv(service, tmp_path, cache_days=0.0).fetch("2405.21060")) == first
    assert len(service.asked) == 2


PORTAL = "<html><body><p>Accept the terms of this network.</p></body></html>"


@pytest.mark.parametrize("damaged", ["{broken", json.dumps({"status": 200, "text": PORTAL})])
def test_a_damaged_cache_is_asked_again(service, tmp_path, damaged):
    service.will(recorded.ARXIV)
    first = list(arxiv(service, tmp_path).fetch("2405.21060"))
    for kept in tmp_path.rglob("*.json"):
        kept.write_text(damaged, encoding="utf-8")
    assert list(arxiv(service, tmp_path).fetch("2405.21060")) == first
    assert len(service.asked) == 2


@pytest.mark.parametrize(
    ("open_source", "page", "answer"),
    [
        (arxiv, PORTAL, recorded.ARXIV),
        (scholar, PORTAL, recorded.S2_SEARCH),
        (scholar, '{"login": "required"}', recorded.S2_SEARCH),
        (scholar, "[" * 100_000, recorded.S2_SEARCH),
        (web, PORTAL, recorded.VECTOR_STORE),
    ],
    ids=["arxiv", "semantic_scholar", "other JSON", "deep JSON", "web"],
)
def test_an_answer_that_cannot_be_read_is_not_kept(service, tmp_path, open_source, page, answer):
    service.will(page).will(answer)
    source = open_source(service, tmp_path)
    with pytest.raises(SourceUnavailable, match="the answer is"):
        source.search("x", 3)
    assert len(source.search("x", 3)) == 1
    assert len(service.asked) == 2


def test_a_busy_service_is_asked_again_when_it_says(service, tmp_path):
    service.will(recorded.S2_BUSY, status=429, Retry_After=1).will(recorded.S2_SEARCH)
    started = time.monotonic()
    found = scholar(service, tmp_path).search("state spaces", 10)
    assert time.monotonic() - started >= 1.0
    assert len(service.asked) == 2
    (paper,) = found  # a paper without a title is left out
    assert (paper.arxiv, paper.text, paper.tags) == ("2405.21060", "", ("Computer Science",))
    assert service.asked[0][0] == "/graph/v1/paper/search"


def test_a_service_that_stays_busy_is_given_up(service, tmp_path):
    service.will(recorded.S2_BUSY, status=429, Retry_After=0)
    with pytest.raises(SourceUnavailable, match="status 429"):
        scholar(service, tmp_path, attempts=3).search("x", 10)
    assert len(service.asked) == 3


@pytest.mark.parametrize("asked", ["86400", f"Wed, 21 Oct 2065 07:28:00 +{'9' * 30}"])
def test_an_unreasonable_retry_after_is_not_obeyed(service, tmp_path, monkeypatch, asked):
    monkeypatch.setattr(remote, "LONGEST_PAUSE_S", 0.2)
    service.will("", status=503, Retry_After=asked).will(recorded.S2_SEARCH)
    assert len(scholar(service, tmp_path).search("x", 10)) == 1


def test_semantic_scholar_by_identifier_and_its_key(service, tmp_path, monkeypatch):
    monkeypatch.setenv("S2_API_KEY", "the-key-of-the-user")
    service.will(recorded.S2_PAPER)
    (paper,) = scholar(service, tmp_path).fetch("2405.21060")
    assert paper.id == f"semantic_scholar:{recorded.S2_PAPER['paperId']}"
    path, _, headers, _ = service.asked[0]
    assert path == "/graph/v1/paper/ARXIV:2405.21060"
    assert headers["x-api-key"] == "the-key-of-the-user"
    stored = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.json")]
    assert stored
    assert not any("the-key-of-the-user" in text for text in stored)


def test_a_key_follows_a_redirect_within_its_origin_and_never_to_another(
    service, tmp_path, monkeypatch
):
    monkeypatch.setenv("S2_API_KEY", "the-key-of-the-user")
    with serving() as other:
        other.will(recorded.S2_PAPER)
        service.will("", status=302, Location="/moved").will("", status=302, Location=other.url)
        assert len(list(scholar(service, tmp_path).fetch("2405.21060"))) == 1
    assert [asked[2].get("x-api-key") for asked in service.asked] == ["the-key-of-the-user"] * 2
    assert "the-key-of-the-user" not in str(other.asked)


def test_semantic_scholar_tells_an_unknown_paper(service, tmp_path):
    service.will(recorded.S2_MISSING, status=404)
    with pytest.raises(InputError, match=r"Paper with id ARXIV:2405\.99999 not found"):
        list(scholar(service, tmp_path).fetch("2405.99999"))


@pytest.mark.parametrize(
    ("answer", "limit_field", "expected"),
    [
        (
            recorded.VECTOR_STORE,
            "max_num_results",
            ("retention.md", "Retention with a gate.", None),
        ),
        (recorded.SEARCH_RESULTS, "max_results", ("RetNet explained", "Decay per head.", 2023)),
    ],
)
def test_web_search_understands_both_formats(
    service, tmp_path, monkeypatch, answer, limit_field, expected
):
    monkeypatch.setenv("SEARCH_KEY", "secret")
    service.will(answer)
    options = WebOptions(
        url=f"{service.url}/search", key_variable="SEARCH_KEY", limit_field=limit_field
    )
    (found,) = WebSource(options, cache=tmp_path).search("gated retention", 3)
    assert (found.title, found.text, found.year) == expected
    _, _, headers, body = service.asked[0]
    assert headers["Authorization"] == "Bearer secret"
    assert body in (f'{{"query":"gated retention","{limit_field}":3}}',)


def test_lone_surrogates_of_an_answer_are_written_out(service, tmp_path):
    row = {"title": "T", "url": "https://example.org/\ud800", "snippet": "Text."}
    service.will({"results": [row]})
    (found,) = web(service, tmp_path).search("x", 3)
    assert found.url == r"https://example.org/\ud800"


@pytest.mark.parametrize("body", ["<html>not JSON</html>", '{"hello": 1}', "[1]"])
def test_an_answer_of_another_kind_is_reported(service, tmp_path, body):
    service.will(body)
    options = WebOptions(url=service.url)
    with pytest.raises(SourceUnavailable, match=r"the answer (is not JSON|has neither)"):
        WebSource(options, cache=tmp_path).search("x", 3)


def test_an_arxiv_answer_that_is_no_feed_is_reported(service, tmp_path):
    service.will("<html><p>Service down")
    with pytest.raises(SourceUnavailable, match="not the expected XML"):
        arxiv(service, tmp_path).search("x", 3)


def test_a_closed_port_is_unavailable_after_the_attempts(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    options = WebOptions(url=url, attempts=1)
    with pytest.raises(SourceUnavailable, match=r"ConnectError(?s:.*)check the network"):
        WebSource(options, cache=tmp_path).search("x", 3)


def test_a_service_that_never_answers_is_given_up_in_time(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(SourceUnavailable, match="ReadTimeout"):
            WebSource(WebOptions(url=url, timeout_s=0.3, attempts=1), cache=tmp_path).search("x", 3)


def test_an_answer_without_end_is_given_up(service, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "MAX_BYTES", 1000)
    service.will("x" * 5000)
    with pytest.raises(SourceUnavailable, match="more than 1,000 bytes"):
        arxiv(service, tmp_path, attempts=1).search("x", 3)


def test_a_wrong_address_is_reported(tmp_path):
    with pytest.raises(SourceUnavailable, match="wrong address"):
        WebSource(WebOptions(url="no-scheme/at/all"), cache=tmp_path).search("x", 3)


def ask(url, cache, number):
    options = ArxivOptions(url=url, interval_s=1.0)
    ArxivSource(options, cache=cache).search(f"query{number}", 1)


def test_two_processes_together_keep_to_the_rate(service, tmp_path):
    service.will(recorded.ARXIV)
    times = []
    service.answer = lambda request, body: times.append(time.time()) or (200, recorded.ARXIV, {})
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=ask, args=(service.url, tmp_path, n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert len(times) == 3
    assert min(gaps) >= 0.5  # where a busy machine delays the first of two
