"""Preparing a corpus: what is held out, what is reused, what is refused, what is noticed."""

import hashlib
import json
import multiprocessing
import shutil
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from genesys_engine.engine.common.disk import size_of
from genesys_engine.engine.corpus import CorpusOptions, prepare, selection
from genesys_engine.engine.corpus.files import FEWEST_FILES, READ_TIMES, open_files
from genesys_engine.engine.corpus.sources import open_source
from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.plugins.corpus import Corpus

STDLIB = Path(sysconfig.get_path("stdlib"))
CHAPTERS = ("argparse", "ast", "csv", "datetime", "difflib", "doctest", "heapq", "inspect", "pdb")


def text_options(*paths, **more):
    settings = {"vocab_size": 400, "heldout": 0.2, **more}
    return CorpusOptions(use="text", paths=tuple(map(str, paths)), **settings)


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    """Real text: modules of the standard library as .txt, .md and .jsonl."""
    folder = tmp_path_factory.mktemp("books")
    texts = [(STDLIB / f"{name}.py").read_text(encoding="utf-8") for name in CHAPTERS]
    for i, text in enumerate(texts[:5]):
        (folder / f"{i}.{'txt' if i % 2 else 'md'}").write_text(text, encoding="utf-8")
    lines = "".join(json.dumps({"body": text}) + "\n" for text in texts[5:])
    (folder / "rest.jsonl").write_text(lines, encoding="utf-8")
    (folder / "ignored.py").write_text("not text by its name")
    return folder


@pytest.fixture(scope="module")
def prepared(books, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    options = text_options(books, text_field="body")
    return options, cache, prepare(options, cache)


def documents(corpus, split):
    """Decode the documents of a split."""
    stream = np.asarray(getattr(corpus, split)).astype(int)
    ends = np.flatnonzero(stream == corpus.end_of_text)
    assert ends[-1] == len(stream) - 1
    parts = np.split(stream, ends + 1)[:-1]
    return [corpus.tokenizer.decode(part[:-1].tolist()) for part in parts]


def test_every_text_is_there_and_on_one_side_only(books, prepared):
    corpus = Corpus.open(prepared[2])
    train, heldout = documents(corpus, "train"), documents(corpus, "heldout")
    assert not set(train) & set(heldout)
    everything = "".join(train) + "".join(heldout)
    originals = [path.read_text() for path in books.glob("[0-9].*")]
    originals += [json.loads(line)["body"] for line in (books / "rest.jsonl").open()]
    assert sorted("".join(originals)) == sorted(everything)
    share = len("".join(heldout)) / len(everything)
    assert 0.2 <= share < 0.35
    assert corpus.manifest["splits"]["train"]["documents"] == len(train)


def test_equal_documents_are_never_on_both_sides(tmp_path, books):
    twice = tmp_path / "twice"
    shutil.copytree(books, twice)
    for path in sorted(twice.glob("*.txt")):
        shutil.copy(path, path.with_name(f"copy-{path.name}"))
    corpus = Corpus.open(prepare(text_options(twice, text_field="body"), tmp_path / "cache"))
    texts = documents(corpus, "train") + documents(corpus, "heldout")
    assert len(texts) == len(set(texts))


def test_items_are_heldout_text_that_training_never_meets(prepared):
    corpus = Corpus.open(prepared[2])
    train, heldout = "\0".join(documents(corpus, "train")), "\0".join(documents(corpus, "heldout"))
    stream = np.asarray(corpus.train).tolist()
    known = {tuple(stream[i : i + 12]) for i in range(len(stream))}
    for task, choices in (("continuation", 4), ("corruption", 2)):
        items = [json.loads(line) for line in corpus.task_items(task).read_text().splitlines()]
        assert len(items) == corpus.manifest["items"][task] >= 30
        labels = {item["label"] for item in items}
        assert labels == set(range(choices))
        for item in items:
            right = item["context"] + item["choices"][item["label"]]
            assert right in heldout
            assert right not in train
            start = corpus.tokenizer.encode(item["choices"][item["label"]]).ids[:12]
            assert tuple(start) not in known
            lengths = [len(corpus.tokenizer.encode(c).ids) for c in item["choices"]]
            assert len(set(lengths)) == 1
            assert len(set(item["choices"])) == choices
            total = len(corpus.tokenizer.encode(right).ids)
            assert total <= 128


def test_a_corruption_only_exchanges_two_words(prepared):
    corpus = Corpus.open(prepared[2])
    for line in corpus.task_items("corruption").read_text().splitlines():
        item = json.loads(line)
        first, second = (corpus.tokenizer.encode(choice).ids for choice in item["choices"])
        assert first != second
        assert sorted(first) == sorted(second)


def test_the_cache_is_reused_and_follows_the_content(prepared, books, tmp_path):
    options, cache, folder = prepared
    before = (folder / "train.bin").stat().st_mtime_ns
    stages = []
    assert prepare(options, cache, stages.append) == folder
    assert stages == ["reading the corpus"]
    assert (folder / "train.bin").stat().st_mtime_ns == before

    moved = tmp_path / "moved"
    shutil.copytree(books, moved)
    assert prepare(text_options(moved, text_field="body"), cache) == folder
    (moved / "0.md").write_text((moved / "0.md").read_text() + "one more line\n")
    assert prepare(text_options(moved, text_field="body"), cache) != folder
    assert prepare(text_options(books, text_field="body", vocab_size=300), cache) != folder


def test_preparing_is_deterministic_to_the_byte(prepared, tmp_path):
    options, _, folder = prepared
    again = prepare(options, tmp_path)
    assert (again / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()
    Corpus.open(again).check()


def test_a_damaged_cache_is_noticed(prepared, tmp_path):
    options, _, folder = prepared
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    shard = copy / "heldout.bin"
    shard.write_bytes(b"\0\0" + shard.read_bytes()[2:])
    with pytest.raises(InputError, match=r"heldout\.bin.*differs(.|\n)*delete this folder"):
        prepare(options, tmp_path)


def test_a_preparation_that_fails_leaves_nothing_behind(prepared, tmp_path):
    def fail(stage):
        if "bigram" in stage:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        prepare(prepared[0], tmp_path, fail)
    assert list(tmp_path.iterdir()) == []
    assert prepare(prepared[0], tmp_path).name == prepared[2].name


def _prepare_elsewhere(options, cache):
    prepare(options, cache)


def test_two_processes_at_once_are_safe(prepared, tmp_path):
    spawn = multiprocessing.get_context("spawn")
    others = [
        spawn.Process(target=_prepare_elsewhere, args=(prepared[0], tmp_path)) for _ in range(2)
    ]
    for process in others:
        process.start()
    for process in others:
        process.join(600)
    assert [process.exitcode for process in others] == [0, 0]
    (folder,) = tmp_path.iterdir()
    Corpus.open(folder).check()


def test_the_default_is_the_standard_library_without_its_tests(tmp_path):
    source = open_source(CorpusOptions())
    names = set(source.names)
    assert {"argparse.py", "json/decoder.py", "asyncio/tasks.py"} <= names
    assert not any({"test", "tests", "site-packages"} & set(Path(name).parts) for name in names)
    assert list(source.names) == sorted(source.names)
    assert source.origin.startswith("Python 3.")
    digest = hashlib.sha256()
    for name in source.names:
        content = hashlib.sha256((STDLIB / name).read_bytes()).hexdigest()
        digest.update(f"{name}\0{content}\n".encode())
    assert source.digest() == digest.hexdigest()


def test_a_large_corpus_is_cut_to_max_bytes(books, tmp_path):
    full = Corpus.open(prepare(text_options(books, text_field="body"), tmp_path))
    part = Corpus.open(prepare(text_options(books, text_field="body", max_bytes=200_000), tmp_path))
    sizes = [sum(s["bytes"] for s in c.manifest["splits"].values()) for c in (full, part)]
    assert sizes[0] > 300_000
    assert 150_000 < sizes[1] <= 200_000


def test_a_large_vocabulary_takes_32_bits(tmp_path, monkeypatch, books):
    from genesys_engine.engine.corpus import build

    monkeypatch.setattr(build, "SIXTEEN_BITS", 300)
    corpus = Corpus.open(prepare(text_options(books, text_field="body"), tmp_path))
    assert corpus.train.dtype == np.dtype("<u4")
    assert len("".join(documents(corpus, "heldout"))) > 10_000


def test_unusable_paths_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        prepare(text_options(tmp_path / "nowhere.txt"), tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.txt, \.md, \.jsonl, \.parquet file"):
        prepare(text_options(tmp_path / "empty"), tmp_path)
    with pytest.raises(InputError, match=r"invalid pattern|no such file"):  # as of Python 3.13
        prepare(text_options(tmp_path / "**.txt"), tmp_path)


def test_unusable_text_is_an_input_error_with_its_place(tmp_path):
    cache = tmp_path / "cache"
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"fine\nfine\nnot \xff\xfe text\n" * 10)
    with pytest.raises(InputError, match=r"bad\.txt:3: not UTF-8"):
        prepare(text_options(bad), cache)
    (tmp_path / "void.txt").write_text("  \n\n")
    with pytest.raises(InputError, match=r"void\.txt: .*no text"):
        prepare(text_options(tmp_path / "void.txt"), cache)
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"text": "good"}\n{"text": \n')
    with pytest.raises(InputError, match=r"lines\.jsonl:2: cannot be read"):
        prepare(text_options(lines), cache)
    lines.write_text('{"body": "good"}\n')
    with pytest.raises(InputError, match="field 'text'"):
        prepare(text_options(lines), cache)


@pytest.mark.parametrize("ranked_bytes", [selection.RANKED_BYTES, 10])
def test_text_of_which_nothing_fits_is_not_said_to_be_none(
    books, tmp_path, monkeypatch, ranked_bytes
):
    monkeypatch.setattr(selection, "RANKED_BYTES", ranked_bytes)
    options = text_options(books, text_field="body", max_bytes=20)
    with pytest.raises(InputError, match=r"fits into max_bytes = 20(.|\n)*raise max_bytes"):
        prepare(options, tmp_path / "cache")


def test_text_of_which_all_is_held_out_is_not_said_to_be_none(books, tmp_path, monkeypatch):
    monkeypatch.setattr(selection, "RANKED_BYTES", 10)
    with pytest.raises(InputError, match=r"all documents \(\d+\) are held out(.|\n)*lower heldout"):
        prepare(text_options(books, text_field="body", heldout=1 - 1e-9), tmp_path / "cache")


def test_too_little_text_is_an_input_error(tmp_path):
    small = tmp_path / "small.txt"
    small.write_text("A few words are no corpus.\n" * 50)
    with pytest.raises(InputError, match="too small"):
        prepare(text_options(small), tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_a_problem_of_the_machine(tmp_path, books):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        prepare(text_options(books, text_field="body"), blocked / "cache")


@pytest.mark.parametrize(
    "options",
    [
        {"use": "text"},
        {"paths": ("a.txt",)},
        {"use": "text", "paths": ""},
        {"use": "text", "paths": ("a.txt", "")},
        {"use": "mixture", "parts": ({"paths": ("",)},)},
        {"vocab_size": 100},
        {"heldout": 0.0},
        {"nonsense": 1},
    ],
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ValidationError):
        CorpusOptions(**options)


def test_a_small_corpus_out_of_much_text_reads_a_part_of_the_files(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(300):
        (folder / f"{i:03}.txt").write_text(f"Text number {i} of many.\n" * 2500)
    options = CorpusOptions(use="text", paths=[str(folder)], max_bytes=500_000, vocab_size=300)
    source = open_files([str(folder)], "text")
    part = source.limited(options.max_bytes)
    assert FEWEST_FILES <= len(part.files) < 60
    assert part.text_bytes() >= READ_TIMES * options.max_bytes
    assert part.files == source.limited(options.max_bytes).files
    unread = [path for path in source.files if path not in part.files]
    unread[0].write_bytes(b"\xff" * unread[0].stat().st_size)  # no text: to read it is an error
    said: list[str] = []
    corpus = Corpus.open(prepare(options, tmp_path / "cache", said.append))
    sizes = sum(split["bytes"] for split in corpus.manifest["splits"].values())
    assert 0.8 * options.max_bytes < sizes <= options.max_bytes
    assert f"{len(part.files)} of 300 files" in said[1]


def test_little_text_and_rows_are_read_whole(tmp_path):
    for i in range(50):
        (tmp_path / f"{i}.txt").write_text("Some text.\n" * 100)
    source = open_files([str(tmp_path)], "text")
    assert source.limited(30_000) is source
    (tmp_path / "rows.jsonl").write_text('{"text": "a row"}\n' * 900_000)
    source = open_files([str(tmp_path)], "text")
    assert source.limited(30_000) is source


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (812, "812 B"),
        (340_000, "340 kB"),
        (999_600, "1.0 MB"),
        (1_240_000, "1.2 MB"),
        (18_000_000, "18 MB"),
        (2_100_000_000, "2.1 GB"),
    ],
)
def test_sizes_have_the_unit_that_fits(count, words):
    assert size_of(count) == words
