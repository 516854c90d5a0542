"""The check that the arms of a study share."""

import pytest

from genesys_engine.engine.compare.checking import StudyCheck
from genesys_engine.gab import library
from genesys_engine.gab.compose import compose
from genesys_engine.gab.tree import GABTree, grow
from genesys_engine.gab.unit import parse_unit
from genesys_engine.plugins.api import Limits
from genesys_engine.plugins.executors.process import ProcessExecutor, ProcessOptions


@pytest.fixture
def check(tmp_path):
    executor = ProcessExecutor(ProcessOptions(), workers=1)
    yield StudyCheck(
        executor, tmp_path, scales=("0.2M",), vocab_size=512, seed=1, limits=Limits(wall_s=120)
    )
    executor.close()


def failing(comment: str) -> GABTree:
    """Return GPT with a norm that raises, and a comment above the line that does."""
    tree = library.seed("gpt")
    place = next(place for place in tree.places() if place.node.unit.interface == "norm")
    lines = place.node.unit.source.splitlines()
    start = next(i for i, line in enumerate(lines) if "def forward" in line) + 1
    lines[start:start] = [*([f"        # {comment}"] if comment else []), "        raise OSError"]
    return tree.replace(place.index, grow(parse_unit("\n".join(lines) + "\n")))


def test_a_report_names_the_lines_of_the_very_source_that_was_checked(check):
    plain, commented = failing(""), failing("Equal but for this.")
    assert plain.digest == commented.digest
    for tree in (plain, commented, plain):
        (finding, *_) = check(tree)["findings"]
        assert compose(tree).splitlines()[finding["line"] - 1].strip() == "raise OSError"
    assert check(plain) is check(plain), "an equal source is checked once"
