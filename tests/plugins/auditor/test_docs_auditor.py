"""docs/auditor.md explains every finding, in two sentences and with an example."""

import re
from pathlib import Path

import pytest

from genesys_engine.gab.checks.report import ADVICE

TEXT = (Path(__file__).parents[3] / "docs/auditor.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### `([a-z_.]+)`[^\n]*\n(.*?)(?=^### |\Z)", TEXT, re.M | re.S))


def test_the_page_and_the_catalogue_have_the_same_codes_in_the_same_order():
    assert list(SECTIONS) == list(ADVICE)


@pytest.mark.parametrize("code", ADVICE)
def test_a_code_is_explained_in_two_sentences_with_an_example(code):
    prose, example = SECTIONS[code].strip().split("\n\n")
    # A sentence ends with a full stop and a blank or the end; "(X, Z)." and "20 %" do not.
    assert len(re.findall(r"\.(?=\s+[A-Z`]|$)", prose)) == 2, prose
    assert re.fullmatch(r" {4}\S.*", example)
