"""The check that the arms of a study share."""

import json
import lzma

import pytest
from study_support import passing

from genesys_engine.engine.check.design_check import CheckSettings, DesignCheck
from genesys_engine.engine.compare.check_reports import FILE, CheckReports, digest
from genesys_engine.engine.compare.checking import StudyCheck
from genesys_engine.gab import library
from genesys_engine.gab.compose import compose
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.tree import GABTree, grow
from genesys_engine.gab.unit import parse_unit
from genesys_engine.plugins.api import Limits
from genesys_engine.plugins.executors.process import ProcessExecutor, ProcessOptions

GOOD = json.dumps({"source": "a", "report": passing("1").to_json()})
SETTINGS = CheckSettings(("0.2M",), vocab_size=512, seed=1, limits=Limits(wall_s=120))


def study_check(executor, folder, reports):
    return StudyCheck(DesignCheck(executor, SETTINGS, folder), reports)


@pytest.fixture
def check(tmp_path):
    preload = ("genesys_engine.gab.lean_torch", "genesys_engine.plugins.check_job")
    executor = ProcessExecutor(ProcessOptions(preload=preload), workers=1)
    yield study_check(executor, tmp_path, CheckReports(tmp_path))
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
        (finding, *_) = check(tree).findings
        assert compose(tree).splitlines()[finding.line - 1].strip() == "raise OSError"
    assert check(plain) is check(plain), "an equal source is checked once"


def test_a_report_is_kept_and_not_made_again(check, tmp_path):
    tree = failing("")
    report = check(tree)
    kept = (tmp_path / FILE).read_text()
    assert json.loads(kept) == {"source": digest(compose(tree)), "report": report.to_json()}
    with lzma.open(tmp_path / "recording.jsonl.xz", "wt") as file:
        file.write(kept)
    (tmp_path / "other").mkdir()
    # Without an executor: nothing can be checked here.
    reports = CheckReports(tmp_path / "other", tmp_path / "recording.jsonl.xz")
    assert study_check(None, tmp_path, reports)(tree) == report
    assert not (tmp_path / "other" / FILE).exists()
    resumed = study_check(None, tmp_path, CheckReports(tmp_path))
    assert resumed(tree) == report


def test_a_report_that_a_kill_cut_short_is_made_again(tmp_path):
    reports = CheckReports(tmp_path)
    reports.add("one", passing("1"))
    with (tmp_path / FILE).open("a") as file:
        file.write('{"source": "ab')
    again = CheckReports(tmp_path)
    assert again.find("one") == passing("1")
    again.add("two", passing("2"))
    assert CheckReports(tmp_path).find("two") == passing("2")


@pytest.mark.parametrize(
    ("text", "line"), [("{}", 1), ('{"source": "a", "report": {}}', 1), (f"{GOOD}\nno", 2)]
)
def test_a_damaged_recording_is_refused_with_its_line(tmp_path, text, line):
    (tmp_path / "recording.jsonl").write_text(text)
    with pytest.raises(InputError, match="damaged") as caught:
        CheckReports(tmp_path / "study", tmp_path / "recording.jsonl")
    assert caught.value.where == f"{tmp_path / 'recording.jsonl'}:{line}"
    with pytest.raises(InputError, match="no such recording of checks"):
        CheckReports(tmp_path / "study", tmp_path / "nowhere.jsonl")
