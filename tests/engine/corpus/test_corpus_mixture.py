"""Parquet files, mixtures with weights, large corpora, pretrained tokenizers."""

import json
import sysconfig
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from genesys_engine.engine.config import load_experiment
from genesys_engine.engine.corpus import CorpusOptions, build, prepare, selection
from genesys_engine.engine.corpus.options import CorpusPart
from genesys_engine.engine.corpus.sources import open_source
from genesys_engine.engine.corpus.tokenizer import open_pretrained
from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.plugins.corpus import Corpus

STDLIB = Path(sysconfig.get_path("stdlib"))
SMOLLM = Path(__file__).parents[3] / "experiments" / "smollm.toml"
SUBSETS = {"code": "a*.py", "more": "s*.py"}


def write_parquet(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": rows, "id": list(range(len(rows)))}), path, row_group_size=5)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A data set as the hub has them: a folder with two subsets in parquet."""
    folder = tmp_path_factory.mktemp("dataset")
    for name, pattern in SUBSETS.items():
        texts = [path.read_text("utf-8") for path in sorted(STDLIB.glob(pattern))]
        write_parquet(folder / name / "part-0.parquet", texts)
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/*.parquet\n"
        for name in SUBSETS
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    return folder


def texts_of(dataset, name):
    return [path.read_text("utf-8") for path in sorted(STDLIB.glob(SUBSETS[name]))]


def hub(dataset, subset, **more):
    return {"hub": str(dataset), "subset": subset, "revision": "main", **more}


def mixture(*parts, **more):
    settings = {"vocab_size": 400, "heldout": 0.2, "max_bytes": 400_000, **more}
    return CorpusOptions(
        use="mixture", parts=tuple(CorpusPart(**part) for part in parts), **settings
    )


def test_parquet_files_are_read_like_lines(dataset, tmp_path):
    rows = texts_of(dataset, "code")
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in rows))
    options = CorpusOptions(use="text", paths=(str(dataset / "code"),))
    lines = CorpusOptions(use="text", paths=(str(tmp_path / "lines.jsonl"),))
    assert list(open_source(options).documents()) == list(open_source(lines).documents()) == rows


def test_a_parquet_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 but no more")
    options = CorpusOptions(use="text", paths=(str(tmp_path),))
    with pytest.raises(InputError, match=r"bad\.parquet: cannot be read"):
        prepare(options, tmp_path / "cache")
    write_parquet(tmp_path / "bad.parquet", ["a", "b"])
    with pytest.raises(InputError, match="field 'body'"):
        prepare(options.model_copy(update={"text_field": "body"}), tmp_path / "cache")


@pytest.mark.parametrize("streaming", [True, False])
def test_hub_data_sets_give_their_shares(dataset, tmp_path, monkeypatch, streaming):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    options = mixture(
        hub(dataset, "code", streaming=streaming),
        hub(dataset, "more", weight=3, streaming=streaming),
    )
    given = list(open_source(options).documents())
    sizes = {
        name: sum(len(t.encode()) for t in given if t in texts_of(dataset, name))
        for name in SUBSETS
    }
    assert 30_000 < sizes["code"] <= 100_000
    assert 250_000 < sizes["more"] <= 300_000
    kinds = [text in texts_of(dataset, "code") for text in given]
    assert kinds[: len(kinds) // 2].count(False) > 0  # in turns, not one behind the other


def test_files_and_hub_are_the_same_parts(dataset, tmp_path):
    files = mixture(
        {"paths": (str(dataset / "code"),)}, {"paths": (str(dataset / "more"),), "weight": 3}
    )
    hubs = mixture(hub(dataset, "code"), hub(dataset, "more", weight=3))
    assert list(open_source(files).documents()) == list(open_source(hubs).documents())
    corpus = Corpus.open(prepare(hubs, tmp_path))
    assert corpus.manifest["origin"].endswith("code 25 %, " + f"{dataset}/more 75 %")
    assert prepare(hubs, tmp_path) == corpus.folder
    assert prepare(hubs.model_copy(update={"max_bytes": 390_000}), tmp_path) != corpus.folder


def test_a_subset_that_does_not_exist_is_an_input_error(dataset, tmp_path):
    with pytest.raises(InputError, match="more"):
        prepare(mixture(hub(dataset, "mroe")), tmp_path)
    with pytest.raises(InputError, match="field 'body'"):
        prepare(mixture(hub(dataset, "more", text_field="body")), tmp_path)


def test_without_a_network_the_hub_says_what_to_do(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EnvironmentProblem, match=r"go online, or name files"):
        open_source(mixture({"hub": "someone/something"}))
    with pytest.raises(EnvironmentProblem, match=r"go online, or set corpus\.tokenizer"):
        open_pretrained("someone/something")


@pytest.mark.parametrize(
    "options",
    [
        {"use": "mixture"},
        {"use": "text", "paths": ("a",), "parts": ({"paths": ("a",)},)},
        {"use": "mixture", "parts": ({"weight": 1.0},)},
        {"use": "mixture", "parts": ({"hub": "a/b", "paths": ("a",)},)},
        {"use": "mixture", "parts": ({"hub": "a/b", "weight": 0.0},)},
    ],
)
def test_wrong_mixtures_are_refused(options):
    with pytest.raises(ValidationError):
        CorpusOptions(**options)


def test_the_smollm_mix_is_a_valid_experiment():
    corpus = load_experiment(SMOLLM).corpus
    assert corpus.use == "mixture"
    assert [part.subset for part in corpus.parts] == [
        "cosmopedia-v2",
        "python-edu",
        "fineweb-edu-dedup",
        "open-web-math",
        "deepmind-math-small",
        "stackoverflow-clean",
    ]


def test_a_large_corpus_is_split_by_hash_and_nothing_is_on_both_sides(tmp_path, monkeypatch):
    monkeypatch.setattr(selection, "RANKED_BYTES", 100_000)
    for name in ("argparse", "inspect", "pdb", "heapq"):
        text = (STDLIB / f"{name}.py").read_text("utf-8")
        (tmp_path / f"{name}.txt").write_text(text)
        (tmp_path / f"{name}-again.txt").write_text(text)
    options = CorpusOptions(
        use="text", paths=(str(tmp_path),), vocab_size=400, heldout=0.3, max_bytes=600_000
    )
    chosen = selection.select(open_source(options), options.max_bytes, options.heldout)
    found = list(chosen.documents())
    sides = {split: {text for s, text in found if s == split} for split in ("train", "heldout")}
    assert not sides["train"] & sides["heldout"]
    assert max(len(text.encode()) for _, text in found) < 20_000
    total = sum(len(text.encode()) for _, text in found)
    assert 580_000 < total <= 600_000
    corpus = Corpus.open(prepare(options, tmp_path / "cache"))
    assert sum(split["bytes"] for split in corpus.manifest["splits"].values()) == total


def test_bigrams_in_pieces_are_the_bigrams_of_the_whole(dataset, tmp_path, monkeypatch):
    import numpy as np

    options = CorpusOptions(use="text", paths=(str(dataset),), vocab_size=300)
    whole = prepare(options, tmp_path / "whole")
    monkeypatch.setattr(build, "PAIRS_AT_ONCE", 1000)
    pieces = prepare(options, tmp_path / "pieces")
    one, two = (np.load(folder / "bigram.npz") for folder in (whole, pieces))
    assert all((one[name] == two[name]).all() for name in ("first", "second", "count"))


# --- pretrained tokenizers -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def other(dataset, tmp_path_factory):
    """A corpus whose tokenizer is somebody's pretrained one for the next."""
    options = CorpusOptions(use="text", paths=(str(dataset / "code"),), vocab_size=500)
    return prepare(options, tmp_path_factory.mktemp("other"))


def test_a_pretrained_tokenizer_is_used_as_it_is(dataset, other, tmp_path):
    options = CorpusOptions(use="text", paths=(str(dataset / "more"),), tokenizer=str(other))
    corpus = Corpus.open(prepare(options, tmp_path))
    theirs = Corpus.open(other)
    text = texts_of(dataset, "more")[0]
    assert corpus.vocab_size == theirs.vocab_size == 500
    assert corpus.tokenizer.encode(text).ids == theirs.tokenizer.encode(text).ids
    held = corpus.manifest["splits"]["heldout"]
    assert corpus.byte_lengths[corpus.heldout].sum() == held["bytes"]
    file = options.model_copy(update={"tokenizer": str(other / "tokenizer.json")})
    assert prepare(file, tmp_path) == corpus.folder
    assert prepare(options.model_copy(update={"tokenizer": None}), tmp_path) != corpus.folder


def test_a_tokenizer_without_an_end_of_text_gets_one(other, tmp_path):
    data = json.loads((other / "tokenizer.json").read_text())
    data["added_tokens"] = []
    del data["model"]["vocab"]["<|endoftext|>"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    tokenizer = open_pretrained(str(tmp_path))
    assert tokenizer.token_to_id("<|endoftext|>") is not None


def test_tokenizers_that_cannot_be_used_are_input_errors(tmp_path):
    from tokenizers import Tokenizer, models

    with pytest.raises(InputError, match="no such tokenizer"):
        open_pretrained(str(tmp_path / "nowhere" / "tokenizer.json"))
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        open_pretrained(str(tmp_path))
    Tokenizer(models.WordLevel({"word": 0, "[UNK]": 1}, "[UNK]")).save(
        str(tmp_path / "tokenizer.json")
    )
    with pytest.raises(InputError, match="not byte-level"):
        open_pretrained(str(tmp_path))


def test_zero_bytes_are_not_text(tmp_path):
    (tmp_path / "image.txt").write_bytes(b"fine\nthen\0\0\0\n" * 100)
    with pytest.raises(InputError, match=r"image\.txt:2: not UTF-8 text: it holds zero bytes"):
        prepare(CorpusOptions(use="text", paths=(str(tmp_path),)), tmp_path / "cache")
