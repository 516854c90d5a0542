"""The knowledge base on a real LanceDB table: idempotent, incremental, shared, killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lancedb
import numpy as np
import pytest

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.knowledge import table
from genesys_engine.plugins.knowledge.base import MODES, Added, KnowledgeBase
from genesys_engine.plugins.knowledge.documents import PASSAGE, Document, passages

ROOT = Path(__file__).resolve().parents[3]


def paper(number, text="", **more):
    topics = ("selective state spaces", "softmax attention", "token shift", "convolution kernels")
    body = text or f"Note {number} on {topics[number % 4]} with detail w{number}x."
    return Document(f"test:{number}", f"Paper {number}", body, "test", **more)


@pytest.fixture
def base(tmp_path):
    return KnowledgeBase(tmp_path / "base")


def names(hits):
    return [hit.id for hit in hits]


def test_adding_again_costs_nothing_and_a_changed_document_replaces_the_old(base):
    documents = [paper(n) for n in range(5)]
    assert base.add(documents) == Added(new=5)
    version = base._table.version
    assert base.add(documents) == Added(unchanged=5)
    assert base._table.version == version  # nothing was written
    long = "\n\n".join(f"Paragraph {n} about retention. " * 20 for n in range(12))
    assert base.add([paper(0, long)]) == Added(updated=1)
    assert base.stats().passages > 9
    assert base.add([paper(0, "Short now: hedgehog.")]) == Added(updated=1)
    assert base.stats().passages == 5  # no passage of the long text is left
    assert names(base.search("hedgehog"))[0] == "test:0"
    assert "test:0" not in names(base.search("retention", mode="text"))


def test_the_same_document_twice_in_one_batch_is_one(base):
    assert base.add([paper(1, "first"), paper(1, "second")]) == Added(new=1)
    assert [entry.passages for entry in base.documents()] == [1]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_finds_by_words_and_orders_its_scores(base, mode):
    base.add([paper(n) for n in range(40)])
    hits = base.search("note on token shift w14x", 5, mode=mode)
    assert hits[0].id == "test:14"
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)


def test_hybrid_finds_what_only_one_of_the_two_rankings_knows(tmp_path):
    class Oracle:
        """Vectors by meaning: everything about dogs points one way."""

        name, dimension = "test:Oracle", 4

        def embed(self, texts):
            rows = [
                [1.0, 0, 0, 0] if "dog" in t or "canine" in t else [0, 1.0, 0, 0] for t in texts
            ]
            return np.array(rows, dtype=np.float32)

    base = KnowledgeBase(tmp_path, Oracle())
    base.add([paper(1, "a canine animal"), paper(2, "the word dog"), paper(3, "a fish")])
    assert names(base.search("dog", mode="text")) == ["test:2"]
    assert set(names(base.search("dog", 2))) == {"test:1", "test:2"}


def test_a_paper_of_two_sources_is_one_hit(base):
    other = Document("other:9", "Paper 1 again", "State spaces once more", "other", arxiv="2405.1")
    base.add([paper(1, "State spaces", arxiv="2405.1"), other, paper(2, "State of the art")])
    hits = names(base.search("state spaces"))
    assert len(hits) == 2
    assert len({"test:1", "other:9"} & set(hits)) == 1
    assert names(base.search("state spaces", sources=["other"])) == ["other:9"]


@pytest.mark.parametrize(
    "query",
    [
        '"unclosed', "a AND (b OR", "'; DROP TABLE passages; --", "*", "ü 中文 \x00", "field:x",
        '""', '"', '" "', '"the"', '"note on"', '"note" "on topics"', '"a\'b"', '"(["', '"\\"',
        "\ud800",
        '"' + "w " * 5000 + '"', "w " * 5000, "the of and", "+a -b", "a~2 b^3 c*", "'quoted'",
    ],
)  # fmt: skip
def test_a_query_is_words_and_never_syntax(base, query):
    base.add([paper(n) for n in range(3)])
    for mode in MODES:
        base.search(query, mode=mode)
    assert base.stats().documents == 3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("query", ['"token shift"', "“token shift”", '"Token  shift" or so'])
def test_what_holds_the_phrase_comes_first(base, mode, query):
    apart = "A shift of the token, and a token that we shift: token, new shift. " * 3
    base.add([paper(n, apart + f"n{n}") for n in range(150)])
    base.add([paper(200, "Much else is said here, and then of a token-shift between neighbours.")])
    base.add([paper(201, "The token\nshift of a long note. " + "Other words follow. " * 30)])
    hits = base.search(query, 5, mode=mode)
    assert sorted(names(hits[:2])) == ["test:200", "test:201"]
    assert len(hits) == 5  # then those with the words alone
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert names(base.search(query, 5, mode=mode, sources=["nowhere"])) == []


def test_of_two_phrases_both_come_before_one(base):
    base.add([paper(n, "token of shift, space of state") for n in range(3)])
    base.add([paper(3, "The state space alone."), paper(4, "A state space and a token shift.")])
    assert names(base.search('"token shift" and "state space"'))[:2] == ["test:4", "test:3"]


def test_a_base_without_positions_in_its_index_is_asked_for_phrases(tmp_path):
    """So were all bases made, and they need not be made anew."""
    made = KnowledgeBase(tmp_path)
    made.add([paper(n) for n in range(8)])
    assert names(KnowledgeBase(tmp_path).search('"token shift"', 2)) == ["test:2", "test:6"]


def test_an_empty_query_and_an_empty_base_find_nothing(base):
    assert base.search("anything") == []
    base.add([paper(1)])
    assert base.search("  ") == []


def test_long_texts_are_cut_between_paragraphs_and_nothing_is_lost():
    text = "\n\n".join(f"p{n} " + "word " * 60 for n in range(20))
    parts = passages(Document("a", "Title", text, "s"))
    assert all(part.startswith("Title\n\n") and len(part) <= PASSAGE + 10 for part in parts)
    kept = " ".join(part.removeprefix("Title\n\n") for part in parts).split()
    assert kept == text.split()
    assert passages(Document("a", "T", "x" * 5000, "s"))[0] == "T\n\n" + "x" * PASSAGE


def test_text_that_no_table_takes_is_cleaned(base):
    assert base.add([paper(1, "broken \ud800 surrogate \x00 and bell \x07")]) == Added(new=1)
    assert "\x07" not in base.search("broken surrogate")[0].passage


def test_an_older_handle_sees_what_another_added(tmp_path):
    first, second = KnowledgeBase(tmp_path / "b"), KnowledgeBase(tmp_path / "b")
    second.add([paper(3)])
    assert names(first.search("token shift")) or first.stats().documents == 1
    assert first.stats().documents == 1


def test_the_index_of_vectors_is_exact(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "INDEXED_FROM", 300)
    base = KnowledgeBase(tmp_path / "b")
    rng = np.random.default_rng(0)
    words = [f"w{n}" for n in range(50)]
    base.add(paper(n, " ".join(rng.choice(words, 8))) for n in range(299))
    before = [base.search(f"w{n} w{n + 1} w{n + 2}", 10, mode="vector") for n in range(20)]
    base.add([paper(999, "something else")])
    indexed = [column for i in base._table.list_indices() for column in i.columns]
    assert {"vector", "names"} <= set(indexed)
    assert base.search("paper 17", 1)[0].id == "test:17"  # by its name, through the index
    after = [base.search(f"w{n} w{n + 1} w{n + 2}", 10, mode="vector") for n in range(20)]
    for old, new in zip(before, after, strict=True):
        assert [h.score for h in old] == pytest.approx([h.score for h in new], abs=1e-5)


# --- what is refused ---------------------------------------------------------------------------


def test_another_embedding_is_refused_and_nothing_changes(tmp_path):
    KnowledgeBase(tmp_path / "b").add([paper(1)])

    class Other:
        name, dimension = "test:Other", 7

        def embed(self, texts):
            return np.ones((len(texts), 7), dtype=np.float32)

    with pytest.raises(InputError, match=r"hashed \(2048 numbers\), not with test:Other \(7 num"):
        KnowledgeBase(tmp_path / "b", Other())
    with pytest.raises(InputError, match="not with minilm"):
        KnowledgeBase(tmp_path / "b", "minilm")
    assert KnowledgeBase(tmp_path / "b").stats().documents == 1


def test_an_embedding_that_changes_its_dimension_is_refused(tmp_path):
    class Shrinks:
        name, dimension = "test:Shrinks", 8

        def embed(self, texts):
            return np.ones((len(texts), self.dimension), dtype=np.float32)

    embedding = Shrinks()
    base = KnowledgeBase(tmp_path / "b", embedding)
    base.add([paper(1)])
    embedding.dimension = 6
    with pytest.raises(InputError, match=r"\(8 numbers\), not with test:Shrinks \(6 numbers\)"):
        base.add([paper(2)])
    assert base.stats().documents == 1


def test_a_table_from_a_newer_version_is_refused_and_left_alone(tmp_path):
    newer = table.Facts(table.FORMAT + 1, "hashed", 2048)
    lancedb.connect(tmp_path).create_table(table.TABLE, schema=table.schema(newer))
    before = sorted(p.name for p in tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"format 3, this version reads up to 2(?s:.*)update"):
        KnowledgeBase(tmp_path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


def test_a_table_from_an_older_version_is_refused_and_left_alone(tmp_path):
    older = table.Facts(table.FORMAT - 1, "hashed", 2048)
    lancedb.connect(tmp_path).create_table(table.TABLE, schema=table.schema(older))
    with pytest.raises(InputError, match=r"format 1, this version reads 2(?s:.*)add again"):
        KnowledgeBase(tmp_path)
    assert lancedb.connect(tmp_path).open_table(table.TABLE).count_rows() == 0


def test_what_is_called_exactly_so_comes_first_with_its_best_passage(base):
    others = [
        Document(f"test:{n}", f"Zebra gates and more {n}", "zebra gate " * 20, "test")
        for n in range(30)
    ]
    long = "\n\n".join(["About stripes. " * 60, "On the zebra gate itself. " * 30])
    base.add(
        [*others, Document("own:zg", "Stripes: a study", long, "own", aliases=("Zebra-Gate",))]
    )
    first, second = base.search("zebra gate", 2)
    assert (first.id, second.id[:5]) == ("own:zg", "test:")
    assert "zebra gate itself" in first.passage
    assert first.score > 1 > second.score
    assert base.search("stripes", 1)[0].id == "own:zg"  # the head of its title
    assert base.search("zebra gate", 5, sources=["test"])[0].source == "test"
    assert base.search("zebra gate", 1, mode="text")[0].score < 1  # the two rankings stay bare


def test_a_damaged_table_is_reported(tmp_path):
    KnowledgeBase(tmp_path).add([paper(1)])
    for manifest in (tmp_path / "passages.lance" / "_versions").iterdir():
        manifest.write_bytes(b"broken")
    with pytest.raises(InputError, match="the table cannot be read"):
        KnowledgeBase(tmp_path)


def test_an_unknown_embedding_is_reported_with_near_names(tmp_path):
    with pytest.raises(InputError, match="did you mean 'minilm'"):
        KnowledgeBase(tmp_path / "b", "minilmm")


# --- several processes -------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from genesys_engine.plugins.knowledge import base as module
from genesys_engine.plugins.knowledge.documents import Document
module.BATCH = 8
first, last = int(sys.argv[2]), int(sys.argv[3])
base = module.KnowledgeBase(Path(sys.argv[1]))
documents = (Document(f"t:{n}", f"T{n}", f"text {n} " * 50, "t") for n in range(first, last))
def told(added):
    print(added.new + added.unchanged, flush=True)
base.add(documents, told)
"""


def writer(folder, first, last):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(first), str(last)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_add_at_once_and_no_document_is_lost_or_doubled(tmp_path):
    both = [writer(tmp_path / "b", 0, 80), writer(tmp_path / "b", 40, 120)]
    assert [process.wait(120) for process in both] == [0, 0]
    base = KnowledgeBase(tmp_path / "b")
    assert [entry.id for entry in base.documents()] == sorted(f"t:{n}" for n in range(120))
    assert base._table.count_rows() == 120


def test_a_killed_load_keeps_what_it_reported_and_continues_behind_it(tmp_path):
    process = writer(tmp_path / "b", 0, 4000)
    told = [int(process.stdout.readline()) for _ in range(4)]
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    base = KnowledgeBase(tmp_path / "b")
    kept = base.stats().documents
    assert told[-1] <= kept < 4000
    assert names(base.search("text 3"))  # searchable without any index
    documents = [Document(f"t:{n}", f"T{n}", f"text {n} " * 50, "t") for n in range(kept + 5)]
    added = base.add(documents)
    assert (added.new, added.unchanged) == (5, kept)
    assert base._table.count_rows() == kept + 5
