"""`check` of several files, its SARIF log, and its annotations of GitHub's jobs."""

import json
import re
import shutil
import tarfile
from pathlib import Path
from urllib.parse import unquote

import commands
import jsonschema
import pytest
from sample_run import make_run

from genesys_engine.engine.check.audit import AuditResult, Target
from genesys_engine.engine.cli import main
from genesys_engine.engine.cli.audit_formats import Audited, Unreadable, github, sarif
from genesys_engine.gab import library
from genesys_engine.gab.checks.report import CheckReport, Finding

ZOO = Path(__file__).parents[2] / "zoo"
ODD = "dir, 100%/a:b é.py"
LEAK = ZOO / "bad/causality.leak.mask_off_by_one.py"

# The parts of SARIF 2.1.0 that a log of ours uses, as the standard has them (chapter 3).
MESSAGE = {"type": "object", "required": ["text"], "properties": {"text": {"minLength": 1}}}
ARTIFACT = {
    "type": "object",
    "required": ["uri"],
    "properties": {
        "uri": {"pattern": r"^(?:[^\s%<>\"{}|\\^`\x80-\uffff]|%[0-9A-Fa-f]{2})+$"},
        "uriBaseId": {"const": "%SRCROOT%"},
    },
    "additionalProperties": False,
}
COUNT = {"type": "integer", "minimum": 1}
REGION = {
    "type": "object",
    "required": ["startLine", "startColumn", "endLine", "endColumn"],
    "properties": dict.fromkeys(("startLine", "startColumn", "endLine", "endColumn"), COUNT),
    "additionalProperties": False,
}
LOCATION = {
    "type": "object",
    "minProperties": 1,
    "properties": {
        "physicalLocation": {
            "required": ["artifactLocation"],
            "properties": {"artifactLocation": ARTIFACT, "region": REGION},
            "additionalProperties": False,
        },
        "logicalLocations": {"type": "array", "minItems": 1},
    },
    "additionalProperties": False,
}
RULE = {
    "type": "object",
    "required": ["id", "shortDescription", "fullDescription", "help"],
    "properties": {
        "id": {"type": "string"},
        **dict.fromkeys(("shortDescription", "fullDescription", "help"), MESSAGE),
        "helpUri": {"format": "uri", "pattern": "^https://"},
    },
    "additionalProperties": False,
}
RESULT = {
    "type": "object",
    "required": ["ruleId", "ruleIndex", "level", "message", "locations"],
    "properties": {
        "level": {"enum": ["error", "warning"]},
        "message": MESSAGE,
        "locations": {"type": "array", "minItems": 1, "maxItems": 1, "items": LOCATION},
    },
}
RUN = {
    "type": "object",
    "required": ["tool", "results"],
    "properties": {
        "tool": {"properties": {"driver": {"properties": {"rules": {"items": RULE}}}}},
        "columnKind": {"const": "unicodeCodePoints"},
        "results": {"type": "array", "items": RESULT},
    },
}
LOG = {
    "type": "object",
    "required": ["$schema", "version", "runs"],
    "properties": {
        "$schema": {"pattern": "^https://"},
        "version": {"const": "2.1.0"},
        "runs": {"type": "array", "minItems": 1, "maxItems": 1, "items": RUN},
    },
    "additionalProperties": False,
}


def ask(capsys, *arguments, code=0):
    assert main(["check", *map(str, arguments)]) == code
    return capsys.readouterr()


def audited(source, *findings, name="x.py", kind="source"):
    return Audited(Target(name, source, kind=kind), AuditResult(CheckReport(findings)))


def found(line=None, unit=None, message="wrong", code="causality.leak", severity="error"):
    return Finding(code, severity, message, "Mask it.", unit, line, {"change": 0.123456})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a good block, a bad one, one under an odd name, and a tree."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    (tmp_path / "good.py").write_text((ZOO / "good/causal_attention.py").read_text())
    (tmp_path / "bad.py").write_text(LEAK.read_text())
    (tmp_path / ODD).parent.mkdir()
    (tmp_path / ODD).write_text("class Block(nn.Module)\n")
    tree = library.seed("gpt").to_json()
    first = next(iter(tree["root"]["children"]))
    tree["root"]["children"] = {first: tree["root"]["children"][first]}
    (tmp_path / "tree.json").write_text(json.dumps(tree))
    return tmp_path


# --- several files, from the command line, in one worker ---


def test_several_files_are_one_answer_with_the_worst_code(folder, capsys):
    files = ("good.py", "bad.py", ODD)
    log = json.loads(ask(capsys, "--fast", "--format", "sarif", *files, "none.py", code=2).out)
    jsonschema.validate(log, LOG)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [r["ruleId"] for r in run["results"]] == ["causality.leak", "load.syntax"]
    assert all(rules[r["ruleIndex"]]["id"] == r["ruleId"] for r in run["results"])
    places = [r["locations"][0]["physicalLocation"] for r in run["results"]]
    assert [unquote(p["artifactLocation"]["uri"]) for p in places] == ["bad.py", ODD]
    line = LEAK.read_text().split("\n")[places[0]["region"]["startLine"] - 1]
    columns = (places[0]["region"]["startColumn"], places[0]["region"]["endColumn"])
    assert line[columns[0] - 1 : columns[1] - 1] == line.strip() != ""
    (call,) = run["invocations"]
    assert (call["executionSuccessful"], call["exitCode"]) == (False, 2)
    assert "none.py" in call["toolExecutionNotifications"][0]["message"]["text"]


def test_text_of_several_files_counts_them_and_json_lists_them(folder, capsys):
    text = ask(capsys, "--fast", "good.py", ODD, code=1).out
    assert text.startswith("good.py: passed\n")
    assert text.endswith("\n\n1 passed, 1 failed\n")
    data = json.loads(ask(capsys, "tree.json", "tree.json", "--json", code=1).out)["data"]
    assert [(each["target"], each["verdict"]) for each in data] == [("tree.json", "failed")] * 2
    one = json.loads(ask(capsys, "tree.json", "--format", "json", code=1).out)["data"]
    assert one["findings"] == data[0]["findings"]


def test_a_tree_has_no_lines_and_a_design_no_file(folder, capsys):
    tree = json.loads(ask(capsys, "tree.json", "--format", "sarif", code=1).out)
    jsonschema.validate(tree, LOG)
    (result,) = tree["runs"][0]["results"]
    assert result["ruleId"] == "contract.tree"
    assert "region" not in result["locations"][0]["physicalLocation"]
    assert ask(capsys, "tree.json", "--format", "github", code=1).out.startswith(
        "::error file=tree.json,title=contract.tree::"
    )
    design = audited("x = 1\n", found(1), name="run:3", kind="design")
    log = sarif([design])
    jsonschema.validate(log, LOG)
    (location,) = log["runs"][0]["results"][0]["locations"]
    assert set(location) == {"logicalLocations"}
    assert github([design]).startswith("::error title=causality.leak::run:3: wrong (line 1 of")


def test_a_run_and_a_design_are_still_one_target(tmp_path, capsys, monkeypatch):
    run = make_run(tmp_path / "run")
    assert "no design 999" in ask(capsys, run, 999, code=2).err
    monkeypatch.chdir(tmp_path)
    told = ask(capsys, "run:999", "run:998", code=2)
    assert (told.err.count("no design"), told.out) == (2, "2 not read\n")


def test_formats_exclude_each_other_and_are_known(capsys, tmp_path):
    assert "give one" in ask(capsys, "x.py", "--json", "--format", "sarif", code=2).err
    assert "did you mean 'sarif'" in ask(capsys, "x.py", "--format", "sarf", code=2).err


# --- GitHub: what a candidate says steers no job ---


def test_nothing_of_a_candidate_ends_a_command_or_begins_a_line():
    hostile = "50 % off, a: b\r\n::stop-commands::x\n"
    text = github([audited("a\n", found(1, message=hostile), name="a, b:c%.py")])
    assert text.count("\n") == 1
    head, _, rest = text.removeprefix("::error ").partition("::")
    properties = dict(each.split("=") for each in head.split(","))
    assert properties["file"] == "a%2C b%3Ac%25.py"
    assert properties["title"] == "causality.leak"
    assert rest.startswith("50 %25 off, a: b%0D%0A::stop-commands::x%0A")


def test_a_warning_is_a_warning_and_an_unread_file_an_error():
    warned = audited("a\n", found(severity="warning", code="cost.slow"))
    assert github([warned]).startswith("::warning file=x.py,line=1,")
    assert sarif([warned])["runs"][0]["results"][0]["level"] == "warning"
    assert github([], [Unreadable("y.py", "no such file")]).startswith("::error file=y.py,title=")
    assert github([audited("a\n")]) == ""


# --- where a finding stands ---


@pytest.mark.parametrize(
    ("source", "line", "unit", "expected"),
    [
        ("a\n    b c  \n", 2, None, (2, 5, 8)),
        ("a\r\n\tb\r\n", 2, None, (2, 2, 3)),
        ("a\rb\rcc", 3, None, (3, 1, 3)),  # Python counts a lone carriage return
        ("x = '\u2028'\nb", 2, None, (2, 1, 2)),  # and no separator of Unicode
        ("é = '🙂'", 1, None, (1, 1, 8)),  # columns are code points
        ("a\n\nb", 2, None, (2, 1, 1)),  # an empty line has an empty region
        ("a\nclass  Mixer(nn.Module):\n", None, "Mixer", (2, 1, 25)),
        ("a\nclass Mixers: ...", None, "Mixer", (1, 1, 2)),
        ("a", 7, None, (1, 1, 2)),  # beyond the file: never outside of it
        ("", None, None, (1, 1, 1)),
    ],
)
def test_a_region_lies_in_the_file(source, line, unit, expected):
    log = sarif([audited(source, found(line, unit))])
    jsonschema.validate(log, LOG)
    region = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]
    assert (region["startLine"], region["startColumn"], region["endColumn"]) == expected
    properties = re.findall(
        r"(line|col|endColumn)=(\d+)", github([audited(source, found(line, unit))])
    )
    assert tuple(int(value) for _, value in properties) == expected


def test_paths_are_relative_to_the_checkout_of_a_job(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    assert github([audited("a", found(1))]).startswith("::error file=sub/x.py,")
    assert github([audited("a", found(1), name="../y.py")]).startswith("::error file=y.py,")
    outside = github([audited("a", found(1), name="../../z.py")])
    assert outside.startswith("::error title=causality.leak::../../z.py: ")
    artifact = sarif([audited("a", found(1), name="../../z.py")])["runs"][0]["results"][0]
    location = artifact["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location == {"uri": (tmp_path.parent / "z.py").as_uri()}
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / "elsewhere"))
    assert github([audited("a", found(1))]).startswith("::error file=x.py,")


def test_a_name_that_looks_like_a_scheme_is_still_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = sarif([audited("a", found(1), name="c:block.py")])
    jsonschema.validate(log, LOG)
    result = log["runs"][0]["results"][0]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert unquote(uri) == "./c:block.py"


# --- the official schema, which a package of the registry carries ---


@pytest.mark.exhaustive
def test_the_log_is_valid_by_the_official_schema(folder, capsys, tmp_path):
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm fetches the schema, and is not installed")
    package = "@microsoft/jest-sarif@1.0.0-beta.0"
    done = commands.run(
        [npm, "pack", "--silent", package],
        cwd=tmp_path,
        timeout=120,
    )
    if done.returncode:
        pytest.skip(f"{package} cannot be fetched here")
    with tarfile.open(tmp_path / done.stdout.strip()) as archive:
        file = archive.extractfile("package/lib/schemas/sarif-2.1.0-rtm.5.json")
        assert file is not None
        schema = json.load(file)
    asked = ("--fast", "--format", "sarif", "good.py", "bad.py", ODD, "tree.json", "none.py")
    log = json.loads(ask(capsys, *asked, code=2).out)
    odd = [audited("a", found(1), name="run:3", kind="design"), audited("", found())]
    validator = jsonschema.Draft4Validator(
        schema, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER
    )
    for each in (log, sarif(odd), sarif([])):
        assert [error.message for error in validator.iter_errors(each)] == []
