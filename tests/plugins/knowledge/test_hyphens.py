"""Words divided at line ends are found; hyphens of their own stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from genesys_engine.plugins.knowledge.base import KnowledgeBase
from genesys_engine.plugins.knowledge.documents import Document
from genesys_engine.plugins.knowledge.sources import pdf
from genesys_engine.plugins.knowledge.sources.hyphens import rejoin

TYPESET = Path(__file__).with_name("hyphenated.pdf")
"""Two columns by Typst 0.15, which writes every hyphen as a soft one."""
BODY = """Attention by itself, and self-attention as in a state-of-the-art network: the art of
linearization.
The dependent entropy is across many gated units, and a short convolution is linear. Without a state
we model less. The input is pretrained.
"""


@pytest.mark.parametrize(
    ("divided", "whole"),
    [
        ("the lin-\nearization of archi-\ntectures", "the linearization of architectures"),
        ("our self-\nattention", "our self-attention"),
        ("state-of-\nthe-art, state-of-the-\nart, state-\nof-the-art", "state-of-the-art, " * 3),
        ("input-depen-\ndent", "input-dependent"),
        ("with-\nout and in-\nput", "without and input"),
        ("pre-\ntrained", "pretrained"),
        ("a linear-\nity", "a linearity"),
        ("gated-\nconvolution", "gated-convolution"),
        ("in-\ncompre-\nhensible", "incomprehensible"),
        ("Lin-\nearization", "Linearization"),
        ("GPT-\n2, KV-\ncache, L2-\nnorm, Mamba-\nBased", "GPT-2, KV-cache, L2-norm, Mamba-Based"),
        ("repre-  \n  sentation", "representation"),
        ("acci\u00ad\ndent, self\u00ad\nattention", "accident, self-attention"),
        ("linear\u00adization, gated\u00adunit", "linearization, gated-unit"),
        ("Pa\u2010\ntrick na\u00efve-\nt\u00e9", "Patrick na\u00efvet\u00e9"),
        ("an item:\n- one\n- two", "an item:\n- one\n- two"),
        ("a -\nb, 3 -\n4, end -- \nnext", "a -\nb, 3 -\n4, end -- \nnext"),
        ("well-\nknown, selfish", "well-known, selfish"),
    ],
)
def test_the_text_itself_is_the_evidence(divided: str, whole: str) -> None:
    found = rejoin(BODY + divided).removeprefix(BODY)
    assert found == whole.removesuffix(", ")
    assert rejoin(found) == found.replace("\u00ad", "")


def test_words_of_a_typeset_pdf_are_found(tmp_path: Path) -> None:
    (document,) = pdf.read(TYPESET)
    assert "\u00ad" not in document.text
    for word in ("linearization", "differentiable", "incomprehensible", "representation",
                 "self-attention", "state-of-the-art", "input-dependent"):  # fmt: skip
        assert document.text.count(word) == 6, word
    base = KnowledgeBase(tmp_path)
    base.add([document])
    for query in ("linearization", '"state of the art"', "incomprehensible"):
        assert base.search(query, mode="text"), query


@pytest.mark.parametrize("place", ["title", "text"])
def test_soft_hyphens_reach_no_prompt_and_hide_no_word(tmp_path: Path, place: str) -> None:
    base = KnowledgeBase(tmp_path)
    given = {"title": "Title", "text": "Text."}
    given[place] = "A lineari\u00adzation of archi\u00ad\ntectures"
    base.add([Document("test:1", source="test", **given)])
    (hit,) = base.search("lin\u00adearization architectures", mode="text")
    assert "linearization of architectures" in hit.passage
    assert "\u00ad" not in hit.title
