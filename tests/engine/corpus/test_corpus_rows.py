"""Rows without text are left out and counted; what is no text is named with file, row and type."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genesys_engine.engine.corpus import CorpusOptions, prepare
from genesys_engine.engine.corpus.options import CorpusPart
from genesys_engine.engine.corpus.sources import open_source
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.corpus import Corpus

STDLIB = Path(sysconfig.get_path("stdlib"))


def lines(path: Path, *rows: str) -> CorpusOptions:
    path.write_text("".join(row + "\n" for row in rows), encoding="utf-8")
    return CorpusOptions(use="text", paths=(str(path),))


def parquet(path: Path, column: pa.Array) -> CorpusOptions:
    pq.write_table(pa.table({"id": range(len(column)), "text": column}), path, row_group_size=2)
    return CorpusOptions(use="text", paths=(str(path),))


def read(options: CorpusOptions) -> tuple[list[str], Any]:
    source = open_source(options)
    documents = list(source.documents())
    assert documents == list(source.small_documents()) == list(source.documents())
    return documents, source.tally


def test_lines_without_text_are_counted(tmp_path):
    options = lines(
        tmp_path / "a.jsonl",
        '{"text": "one"}', '{"text": null}', '{"text": "two"}', '{"id": 4}', "", "null",
        '{"text": NaN}', "{}", '{"text": ""}',
    )  # fmt: skip
    documents, tally = read(options)
    assert documents == ["one", "two", ""]
    assert (tally.rows, tally.without_text, tally.repaired) == (8, 5, 0)
    assert tally.empty_at.endswith("a.jsonl:2")


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
)
def test_parquet_rows_without_text_are_counted(tmp_path, kind):
    options = parquet(tmp_path / "a.parquet", pa.array(["one", None, None, "two"]).cast(kind))
    documents, tally = read(options)
    assert documents == ["one", "two"]
    assert (tally.rows, tally.without_text) == (4, 2)
    assert tally.empty_at.endswith("a.parquet, row 2")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("[1]", "a list"), ('{"a": "b"}', "an object"), ("5", "a number"), ("0.5", "a number"),
        ("true", "true or false"),
    ],
)  # fmt: skip
def test_another_type_is_an_error_with_its_line(tmp_path, value, name):
    options = lines(tmp_path / "a.jsonl", '{"text": "one"}', "", f'{{"text": {value}}}')
    with pytest.raises(InputError, match=rf"a\.jsonl:3: the field 'text' holds {name}, not text"):
        list(open_source(options).documents())


@pytest.mark.parametrize(
    ("column", "name"),
    [
        (pa.array([None, b"PNG"]), "binary data"),
        (pa.array([None, ["a", "b"]]), "a list"),
        (pa.array([None, {"a": 1}]), "an object"),
        (pa.array([None, 7]), "a number"),
    ],
)
def test_another_type_is_an_error_with_its_row(tmp_path, column, name):
    options = parquet(tmp_path / "a.parquet", column)
    with pytest.raises(InputError, match=rf"a\.parquet, row 2: the field 'text' holds {name}"):
        list(open_source(options).documents())


@pytest.mark.parametrize("row", ['"a text"', "[1]", "7"])
def test_a_line_that_is_no_object_is_named(tmp_path, row):
    options = lines(tmp_path / "a.jsonl", '{"text": "one"}', row)
    with pytest.raises(InputError, match=r"a\.jsonl:2: the line holds .*, not an object"):
        list(open_source(options).documents())


def test_a_field_that_no_row_has_is_an_error_even_next_to_plain_text(tmp_path):
    lines(tmp_path / "a.jsonl", '{"body": "one"}', '{"body": "two"}')
    (tmp_path / "README.md").write_text("About these texts.")
    options = CorpusOptions(use="text", paths=(str(tmp_path),))
    with pytest.raises(InputError, match=r"a\.jsonl:1: .*it has body.*'text'(.|\n)*set text_field"):
        list(open_source(options).documents())


def test_what_looks_like_a_date_stays_text(tmp_path):
    dates = ["2024-01-01", "2024-01-02 10:00:00"]
    documents, _ = read(lines(tmp_path / "a.jsonl", *(json.dumps({"text": d}) for d in dates)))
    assert documents == dates


def test_lone_surrogates_are_replaced_and_pairs_are_kept(tmp_path):
    options = lines(
        tmp_path / "a.jsonl", r'{"text": "\ud83d\ude00"}', r'{"text": "cut \ud83d"}',
        r'{"text": "\ude00 turned \ud83d"}',
    )  # fmt: skip
    documents, tally = read(options)
    assert documents == ["\U0001f600", "cut \ufffd", "\ufffd turned \ufffd"]
    assert (tally.repaired, tally.without_text) == (2, 0)
    assert tally.repaired_at.endswith("a.jsonl:2")


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.jsonl"])
def test_a_byte_order_mark_is_no_text(tmp_path, name):
    text = '{"text": "one"}\n'
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    documents, _ = read(CorpusOptions(use="text", paths=(str(tmp_path / name),)))
    assert documents == ["one"] if name == "a.jsonl" else [text]


def test_parts_of_a_mixture_continue_after_such_rows(tmp_path):
    """Files and a data set as the hub has them, read through `datasets`."""
    for name in ("files", "hub"):
        (tmp_path / name).mkdir()
        parquet(tmp_path / name / "a.parquet", pa.array([f"{name} 1", None, f"{name} 2"]))
    parts = (
        CorpusPart(paths=(str(tmp_path / "files"),)),
        CorpusPart(hub=str(tmp_path / "hub"), revision="main"),
    )
    documents, tally = read(CorpusOptions(use="mixture", parts=parts))
    assert sorted(documents) == ["files 1", "files 2", "hub 1", "hub 2"]
    assert (tally.rows, tally.without_text) == (6, 2)
    parquet(tmp_path / "hub" / "a.parquet", pa.array([None, ["a"]]))
    with pytest.raises(InputError, match="hub, row 2: the field 'text' holds a list"):
        read(CorpusOptions(use="mixture", parts=parts))


def test_the_summary_says_it_once_and_the_manifest_keeps_it(tmp_path):
    texts = [json.dumps({"text": path.read_text("utf-8")}) for path in sorted(STDLIB.glob("a*.py"))]
    options = lines(tmp_path / "a.jsonl", *texts, '{"text": null}', r'{"text": "a \ud83d"}')
    options = options.model_copy(update={"vocab_size": 400})
    for _ in range(2):  # made, then found in the cache
        said: list[str] = []
        corpus = Corpus.open(prepare(options, tmp_path / "cache", said.append))
        told = [line for line in said if line.startswith("corpus: ")]
        assert [line.removeprefix("corpus: ") for line in told] == corpus.manifest["left_out"]
        assert [line.split()[1] for line in told] == ["1", "1"]
    clean = lines(tmp_path / "b.jsonl", *texts).model_copy(update={"vocab_size": 400})
    assert "left_out" not in Corpus.open(prepare(clean, tmp_path / "cache")).manifest
