"""The base and live sources together; the embeddings by name."""

import importlib.util

import numpy as np
import pytest
import service as recorded
from service import serving

from genesys_engine.gab.errors import EnvironmentProblem, InputError, PluginError
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.knowledge.base import KnowledgeBase
from genesys_engine.plugins.knowledge.documents import Document
from genesys_engine.plugins.knowledge.embeddings import open_embedding
from genesys_engine.plugins.knowledge.embeddings.minilm import PACKAGE
from genesys_engine.plugins.knowledge.engine import Knowledge


@pytest.fixture
def service():
    with serving() as one:
        yield one


@pytest.fixture
def notes():
    return []


@pytest.fixture
def knowledge(tmp_path, service, notes):
    registry = PluginHost().registry
    settings = {
        "arxiv": {"url": service.url, "interval_s": 0.0, "attempts": 1},
        "web": {"url": "http://127.0.0.1:9/", "attempts": 1, "timeout_s": 2.0},
    }

    def open_source(name):
        description = registry.get("knowledge_source", name)
        return description.create(settings.get(name, {}), cache=tmp_path / "cache")

    return Knowledge(KnowledgeBase(tmp_path / "base"), open_source, notes.append)


def test_all_sources_are_registered_through_the_hook_and_made_by_it():
    registry = PluginHost().registry
    names = registry.names("knowledge_source")
    assert names == ("arxiv", "folder", "library", "semantic_scholar", "web")
    with pytest.raises(PluginError, match="url"):
        registry.get("knowledge_source", "web").create({}, cache=None)
    with pytest.raises(PluginError, match="did you mean 'arxiv'"):
        registry.get("knowledge_source", "arxvi")


def test_what_a_live_source_finds_is_fused_and_remembered(knowledge, service):
    service.will(recorded.ARXIV)
    note = Document("file:1", "Notes on attention", "attention and kernels", "folder")
    knowledge.base.add([note])
    hits = knowledge.search("attention state space duality", 5, live=["arxiv"])
    assert {hit.id for hit in hits} == {"file:1", "arxiv:2405.21060"}
    assert [hit.rank for hit in hits] == [1, 2]
    assert knowledge.base.search("structured matrices")[0].id == "arxiv:2405.21060"


def test_a_source_out_of_reach_is_reported_once_and_the_rest_continues(knowledge, service, notes):
    service.will(recorded.ARXIV)
    for _ in range(3):
        hits = knowledge.search("state space duality", 5, live=["web", "arxiv"])
        assert hits[0].arxiv == "2405.21060"
    assert len(notes) == 1
    assert "knowledge source web: cannot be used" in notes[0]


def test_what_cannot_be_used_is_reported_and_the_rest_is_added(knowledge, notes, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text("# Fine\n\ntext", encoding="utf-8")
    (folder / "b.pdf").write_bytes(b"not a PDF")
    report = knowledge.add("folder", str(folder))
    assert report.added.new == 1
    assert [str(problem) for problem in report.problems] == notes
    assert "b.pdf" in notes[0]


# --- embeddings --------------------------------------------------------------------------------


def test_hashed_vectors_are_the_same_everywhere_and_of_unit_length():
    hashed = open_embedding("hashed")
    rows = hashed.embed(["Gated retention heads", "gating a retention head", "", "wheat prices"])
    assert rows.shape == (4, 2048)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(4), abs=1e-6)
    # zlib.crc32 and no salt: this place was computed once and holds on every machine.
    assert np.flatnonzero(hashed.embed(["retention"])[0]).tolist() == [1862]
    assert rows[0] @ rows[1] > 0.4 > abs(rows[0] @ rows[3])


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="extra minilm not installed")
def test_minilm_equals_the_reference_implementation(tmp_path):
    import torch
    from transformers import AutoModel, AutoTokenizer

    texts = [
        "Selective state spaces scan a sequence in linear time.",
        "A cat sat.",
        "Attention " * 400,  # longer than the model reads
        "",
    ]
    mine = open_embedding("minilm").embed(texts)
    folder = importlib.util.find_spec(PACKAGE).submodule_search_locations[0] + "/model"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    batch = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.inference_mode():
        states = model.eval()(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None].float()
    expected = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
    assert mine == pytest.approx(expected.numpy(), abs=2e-6)


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="extra minilm not installed")
def test_weights_that_are_not_the_published_ones_are_refused(monkeypatch):
    from genesys_engine.plugins.knowledge.embeddings import minilm

    monkeypatch.setitem(minilm.DIGESTS, "tokenizer.json", "0" * 64)
    with pytest.raises(EnvironmentProblem, match="is not the published model"):
        open_embedding("minilm")


def test_a_missing_package_is_reported_with_what_to_install(monkeypatch):
    from genesys_engine.plugins.knowledge.embeddings import minilm

    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package_anywhere")
    with pytest.raises(EnvironmentProblem, match=r"not installed(?s:.*)genesys-engine\[minilm\]"):
        open_embedding("minilm")


@pytest.mark.slow
def test_a_model_behind_litellm(service, monkeypatch):
    vectors = [{"object": "embedding", "index": i, "embedding": [3.0, 4.0]} for i in range(1)]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    service.will({"object": "list", "data": vectors, "model": "small", "usage": usage})
    monkeypatch.setenv("OPENAI_API_KEY", "nothing")
    monkeypatch.setenv("GENESYS_EMBEDDING_BASE", f"{service.url}/v1")
    embedding = open_embedding("litellm:openai/small")
    assert embedding.dimension == 2
    assert embedding.embed(["text"])[0] == pytest.approx([0.6, 0.8])
    assert service.asked[0][0] == "/v1/embeddings"


class Own:
    """An embedding of somebody's own."""

    dimension = 3

    def embed(self, texts):
        return np.eye(3, dtype=np.float32)[[len(text) % 3 for text in texts]]


def test_an_embedding_of_ones_own_by_target(tmp_path):
    embedding = open_embedding(f"{__name__}:Own")
    assert embedding.name == f"{__name__}:Own"
    base = KnowledgeBase(tmp_path, embedding)
    base.add([Document("a", "abc", "", "t")])
    assert KnowledgeBase(tmp_path).search("abc")[0].id == "a"  # found again by its name
    with pytest.raises(PluginError, match="cannot import"):
        open_embedding("no.such.module:Embedding")


def test_a_wrong_name_is_reported():
    with pytest.raises(InputError, match="did you mean 'hashed'"):
        open_embedding("hashd")
