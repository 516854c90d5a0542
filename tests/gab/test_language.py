"""The language of a block refuses nothing that honest blocks need: ordinary Python, all corpora."""

import builtins
import importlib.util
import json
import lzma
import re
import sys
from pathlib import Path

import pytest
from ordinary import HEAD, ORDINARY

from genesys_engine.gab import library
from genesys_engine.gab.checks import attributes, members, walker
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.checks.static import check_source
from genesys_engine.gab.compose import compose, load_block

ROOT = Path(__file__).parents[2]
LANGUAGE = {"static.import", "static.interpreter", "static.attribute", "patch.outside"}


def errors(source):
    return [each for each in check_source(source, SourceMap(source)) if each.severity == "error"]


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_python_is_allowed_and_runs(name):
    source = f"{HEAD}{ORDINARY[name]}\n\n\nclass Block(nn.Module):\n    pass\n"
    assert [str(each) for each in errors(source)] == []
    load_block(source)


def designs():
    """Yield name and source of every block and unit in the repository, but for hostile ones."""
    for name in library.unit_names():
        yield f"unit {name}", library.unit(name).source
    for name in library.seed_names():
        yield f"seed {name}", compose(library.seed(name))
    files = [*ROOT.glob("tests/zoo/*/*.py"), *ROOT.glob("experiments/bench/audit_corpus/*/*.py")]
    for path in files:
        if ".".join(path.name.split(".")[:2]) not in LANGUAGE:
            yield str(path.relative_to(ROOT)), path.read_text("utf-8")


def recorded():
    """Yield every source that a language model was shown or wrote in the recorded study."""
    seen = set()
    with lzma.open(ROOT / "experiments/recordings/gp_vs_direct.jsonl.xz", "rt") as file:
        for line in file:
            row = json.loads(line)
            shown = [text for _, text in row.get("request", {}).get("messages", [])]
            for text in (row.get("reply") or "", *shown):
                seen.update(re.findall(r"```(?:python)?\n(.*?)```", text, re.DOTALL))
    return sorted(seen)


def test_no_honest_design_of_the_corpora_is_refused():
    found = {name: errors(source) for name, source in designs()}
    refused = {name: [str(e) for e in each if e.code in LANGUAGE] for name, each in found.items()}
    assert {name: texts for name, texts in refused.items() if texts} == {}
    assert len(found) > 230


def test_no_recorded_source_is_refused():
    sources = recorded()
    refused = [each for source in sources for each in errors(source) if each.code in LANGUAGE]
    assert [str(each) for each in refused] == []
    assert len(sources) > 1000


def test_every_block_of_the_benchmark_is_read():
    path = ROOT / "experiments/bench/audit_corpus.py"
    spec = importlib.util.spec_from_file_location("audit_corpus", path)
    bench = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = bench  # its dataclasses look themselves up
    spec.loader.exec_module(bench)
    for block in bench.read_corpus():
        codes = {each.code for each in errors(block.source)} & LANGUAGE
        assert codes == ({block.code} & LANGUAGE), block.name


PAGE = (ROOT / "docs/block-language.md").read_text("utf-8")


@pytest.mark.parametrize("module", members.MODULES)
def test_the_page_lists_every_module_and_member(module):
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{module}` |")]
    named = {word for word in members.MODULES[module].split() if not word.startswith("<")}
    assert set(re.findall(r"`([^`]+)`", row)) - {module} == named - {module}


def test_the_page_lists_special_names_and_refused_functions():
    special = attributes.READABLE_SPECIAL | attributes.DEFINABLE_SPECIAL
    assert special <= set(re.findall(r"`(\w+)`", PAGE))
    listed = re.search(r"Every built-in function but (.*?);", PAGE, re.DOTALL)[1]
    named = set(re.findall(r"`(\w+)`", listed))
    public = {name for name in vars(builtins) if not name.startswith("_")}
    assert named == walker.UNUSABLE & public | {"__import__"}


@pytest.mark.parametrize("name", sorted(walker.UNUSABLE))
def test_a_function_that_is_not_listed_is_refused(name):
    assert {each.code for each in errors(f"found = {name}\n")} == {"static.interpreter"}
