"""Plugins that are broken, beside the experiment, disabled or required: what a run makes of it.

Each is really installed (see `test_host.Site`).  An unrelated experiment is valid; one that needs
the plugin is told which distribution, which hook, where, and how to mend it.
"""

import json
import re
import sys
from pathlib import Path

import pytest
import tomli
from test_host import GOOD, ROOT, Site

HEAD = "from genesys_engine.plugins import api\n\n"
REGISTER = """
@api.hookimpl
def genesys_register_selectors(register):
    register("mine", "{module}:Mine", summary="a selector")
"""
MINE = """
class Options(api.Options):
    level: int = 3

class Mine:
    Options = Options
    def __init__(self, options):
        self.options = options
"""

# name -> (source, hook, line or 0, what is wrong, how to mend it)
CASES = {
    "import": (HEAD + "import not_there_at_all\n", "import", 3, "not_there_at_all", "install what"),
    "syntax": ("def f(:\n", "import", 1, "SyntaxError", "fix that line"),
    "exit": (HEAD + "raise SystemExit(3)\n", "import", 3, "SystemExit: 3", "fix that line"),
    "typo": (
        HEAD + REGISTER.replace("selectors", "selektors"),
        "hooks",
        5,
        "unknown hook 'genesys_register_selektors'",
        "did you mean 'genesys_register_selectors'?",
    ),
    "signature": (
        HEAD + REGISTER.replace("(register)", "(registry)"),
        "hooks",
        5,
        "has no argument 'registry'",
        r"write def genesys_register_selectors\(register\)",
    ),
    "async": (
        HEAD + REGISTER.replace("def genesys", "async def genesys"),
        "hooks",
        5,
        "is async",
        "write `def`",
    ),
    "unmarked": (
        HEAD + REGISTER.replace("@api.hookimpl\n", ""),
        "hooks",
        4,
        "is not marked",
        "put @api.hookimpl above it",
    ),
    "raising": (
        HEAD + REGISTER.replace('register("mine"', "raise OSError('gone')\n    register(\"mine\""),
        "genesys_register_selectors",
        6,
        "OSError: gone",
        "fix that line",
    ),
}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "site").mkdir()
    return Site(tmp_path / "site")


VALIDATE = """
import contextlib, io, json, pathlib, sys
from genesys_engine.engine.cli import main

answers, file = [], pathlib.Path(sys.argv[1])
for asked in json.loads(sys.argv[2]):
    if isinstance(asked, str):
        file.write_text(asked)
        asked = ["validate", str(file)]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        code = main(asked)
    answers.append((code, out.getvalue()))
print(json.dumps(answers))
"""


def validate_all(site: Site, *asked: str | list[str]) -> list[tuple[int, str]]:
    """Validate experiments one after the other, all in one new process.

    Words of another command may stand between them.  Return the exit code and the output of each.
    """
    file = site.folder.parent / "experiment.toml"
    done = site.run([sys.executable, "-c", VALIDATE, str(file), json.dumps(asked)], {})
    assert done.returncode == 0, done.stderr
    return [(code, text) for code, text in json.loads(done.stdout)]


def validate(site: Site, text: str) -> tuple[int, str]:
    return validate_all(site, text)[0]


@pytest.mark.parametrize("case", CASES)
def test_only_an_experiment_that_needs_a_broken_plugin_is_stopped(site: Site, case: str) -> None:
    source, hook, line, wrong, mend = CASES[case]
    module = site.install("aa-broken", source)
    place = re.escape(f"{site.folder / module}.py:{line}")
    needing = ('[selection]\nuse = "mine"\n', '[plugins]\nrequire = ["aa-broken"]\n')
    unrelated, *others = validate_all(site, "", *needing)
    assert unrelated[0] == 0, unrelated
    for code, told in others:
        assert code == 2
        told = " ".join(told.split())
        assert re.search(rf"aa-broken.? 1\.5 is broken: {hook} \({place}\)", told), told
        assert wrong in told
        assert re.search(mend, told), told
        assert '[plugins] disable = ["aa-broken"]' in told


def test_a_plugin_for_another_engine_is_not_even_imported(site: Site) -> None:
    module = site.install("aa-future", "1 / 0\n")
    metadata = site.folder / "aa_future-1.5.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text() + "Requires-Dist: genesys-engine>=99\n")
    seen = site.probe()
    record = seen["records"]["aa-future:main"]
    assert (record["status"], record["where"]) == ("broken", "requirements")
    assert re.search(r"made for genesys-engine>=99, this is 0\.", record["message"])
    assert record["location"] == f"{metadata}:4"
    assert "install a version of aa-future that fits" in record["fix"]
    assert module not in seen["modules"]
    metadata.write_text(metadata.read_text().replace(">=99", ">=0.1,<99"))
    assert "ZeroDivisionError" in site.probe()["records"]["aa-future:main"]["message"]


BAD_OPTIONS = {
    "lax": ("class Options(__import__('pydantic').BaseModel):\n    level: int = 3\n", "misspelt"),
    "no-model": ("class Options:\n    level = 3\n", "not a pydantic model"),
    "broken": ("class Options(api.Options):\n    level: int = 1 / 0\n", "ZeroDivisionError"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_options_that_cannot_be_read_stop_only_who_uses_them(site: Site, case: str) -> None:
    model, wrong = BAD_OPTIONS[case]
    body = MINE.partition("class Mine")[2]
    site.install("aa-options", HEAD + REGISTER.replace("{module}:", "aa_parts:"))
    (site.folder / "aa_parts.py").write_text(f"{HEAD}{model}\nclass Mine{body}")
    unrelated, (code, told) = validate_all(site, "", '[selection]\nuse = "mine"\n')
    assert unrelated[0] == 0, unrelated
    assert code == 2
    assert wrong in told
    assert "aa_parts:Mine" in told


def test_options_that_do_not_validate_are_told_with_their_line(site: Site) -> None:
    site.install("aa-options", HEAD + REGISTER + MINE)
    mine = '[selection]\nuse = "mine"\n'
    wrong, misspelt = validate_all(site, f'{mine}level = "high"\n', f"{mine}levle = 2\n")
    code, told = wrong
    assert code == 2
    assert "experiment.toml:3" in told
    assert "'high'" in told
    assert "did you mean 'level'?" in misspelt[1]


WORKER_OPTIONS = """
@api.hookimpl
def genesys_register_{kind}s(register):
    register("mine", "aa_parts:Mine", summary="for workers", options="aa_parts:Options")
"""


@pytest.mark.parametrize("kind", ["trainer", "evaluator", "checker"])
def test_options_that_workers_would_not_find_are_told_when_used(site: Site, kind: str) -> None:
    site.install("aa-options", HEAD + WORKER_OPTIONS.replace("{kind}", kind))
    parts = site.folder / "aa_parts.py"
    parts.write_text(f"{HEAD}{MINE}".replace("    Options = Options\n", ""))
    tables = {"trainer": "[trainer]", "evaluator": "[[evaluators]]", "checker": "[[checkers]]"}
    text = f'{tables[kind]}\nuse = "mine"\n'
    unrelated, listed, (code, told) = validate_all(site, "", ["plugins", "show", "mine"], text)
    assert unrelated[0] == 0, unrelated
    assert "level" in listed[1]  # listing does not ask for the class
    told = " ".join(told.split())
    assert code == 2
    assert f"the options of the {kind} 'mine' of aa-options 1.5 are registered" in told
    assert "write `Options = Options` into it" in told
    parts.write_text(HEAD + MINE)
    code, told = validate(site, text)
    assert "are registered" not in told
    assert code == 0 or kind == "evaluator"  # which has to give bits_per_byte, but not here


def test_a_name_that_is_taken_stops_only_who_uses_it(site: Site) -> None:
    rival = REGISTER.replace('"mine"', '"quadrant"')
    site.install("aa-rival", HEAD + rival)
    texts = ('[selection]\nuse = "random"\n', '[selection]\nuse = "quadrant"\n')
    other, (code, told) = validate_all(site, *texts)
    assert other[0] == 0, other
    told = " ".join(told.split())
    assert code == 2
    assert "registered twice: by genesys-engine 0" in told
    assert "by aa-rival 1.5" in told
    assert 'disable = ["aa-rival"]' in told


def test_a_heavy_import_is_told_and_hurts_nobody(site: Site) -> None:
    site.install(
        "aa-heavy", "import sys, types\nsys.modules['torch'] = types.ModuleType('torch')\n"
    )
    record = site.probe()["records"]["aa-heavy:main"]
    assert (record["status"], record["heavy"]) == ("active", ["torch"])
    done = site.run([sys.executable, "-m", "genesys_engine", "plugins", "--times"], {})
    assert re.search(r"aa-heavy +0\.\d+ +torch", done.stdout)


def test_local_plugins_beside_the_experiment(site: Site) -> None:
    here = site.folder.parent
    (here / "my_file.py").write_text(HEAD + REGISTER.format(module="my_file") + MINE)
    package = here / "my_package"
    package.mkdir()
    second = REGISTER.replace('"mine"', '"other"').format(module="my_package")
    (package / "__init__.py").write_text(HEAD + second + MINE)
    text = '[plugins]\nlocal = ["my_file.py", "my_package"]\n[selection]\nlevel = 4\nuse = "{}"\n'
    unknown = text.format("mine") + '[[operators]]\nuse = "nothing"\n'
    disabled = text.format("mine").replace("[plugins]", '[plugins]\ndisable = ["my_file"]')
    texts = (text.format("mine"), text.format("other"), unknown, disabled)
    mine, other, refused, (_, told_disabled) = validate_all(site, *texts)
    for code, told in (mine, other):
        assert (code, "is valid" in told) == (0, True), told
    assert refused[0] == 2
    assert "plugin 'my_file' of local" in told_disabled
    assert "is disabled" in told_disabled


def test_a_local_project_is_read_by_its_entry_points(site: Site) -> None:
    project = site.folder.parent / "project"
    (project / "src").mkdir(parents=True)
    (project / "pyproject.toml").write_text(
        '[project]\nname = "genesys-engine-near"\nversion = "0.3"\n'
        '[project.entry-points.genesys_engine]\nnear = "near_plugin"\n'
    )
    source = HEAD + REGISTER.format(module="near_plugin") + MINE
    (project / "src" / "near_plugin.py").write_text(source)
    text = '[plugins]\nlocal = ["project"]\nrequire = ["genesys-engine-near"]\n'
    assert validate(site, text + '[selection]\nuse = "mine"\n')[0] == 0


def test_a_local_plugin_that_is_none_or_hidden_is_told(site: Site) -> None:
    here = site.folder.parent
    (here / "operator.py").write_text(HEAD)  # the name of a module of Python's own
    (here / "notes").mkdir()
    text = '[plugins]\nlocal = ["{}"]\n[selection]\nuse = "mine"\n'
    missing, hidden, (_, told) = validate_all(
        site, *(text.format(name) for name in ("nothing.py", "operator.py", "notes"))
    )
    assert missing[0] == 2
    assert "nothing at" in missing[1]
    assert "nothing.py" in missing[1]
    assert hidden[0] == 2
    assert "the module 'operator' is another one" in hidden[1]
    assert "no plugin at" in told
    assert "pyproject.toml" in told


def test_show_tells_options_and_origin(site: Site) -> None:
    site.install("aa-options", HEAD + REGISTER + MINE)
    words = (["mine", "--json"], ["aa-options"], ["minne"])
    first, second, wrong = validate_all(site, *(["plugins", "show", *each] for each in words))
    answer = first[1][first[1].index("{") :]  # after what a slow start reports
    (component,) = json.loads(answer)["data"]["components"]
    assert component["origin"] == str(site.folder)
    assert [(o["name"], o["type"], o["default"]) for o in component["options"]] == [
        ("level", "integer", 3)
    ]
    assert "selector mine: a selector" in second[1]
    assert re.search(r"level +integer +3", second[1])
    assert wrong[0] == 2
    assert "did you mean 'mine'?" in wrong[1]


def test_the_schema_holds_the_options_of_installed_plugins(site: Site) -> None:
    site.install("aa-options", HEAD + REGISTER + MINE)
    site.install("zz-good", GOOD)  # its component cannot be imported: any option is allowed
    program = [sys.executable, "-m", "genesys_engine", "config", "schema"]
    done = site.run(program, {})
    assert done.returncode == 0, done.stderr
    schema = json.loads(done.stdout)
    selection = schema["properties"]["selection"]
    assert {"mine", "quadrant", "zz-good"} <= set(selection["properties"]["use"]["enum"])
    rules = {r["if"]["properties"]["use"]["const"]: r["then"] for r in selection["allOf"]}
    assert rules["mine"]["properties"]["level"] == {
        "default": 3,
        "title": "Level",
        "type": "integer",
    }
    assert rules["mine"]["additionalProperties"] is False
    assert "additionalProperties" not in rules["zz-good"]
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema).is_valid
    for file in sorted((ROOT / "experiments").glob("*.toml")):
        assert check(tomli.loads(file.read_text())), file
    assert check({"selection": {"use": "mine", "level": 4}})
    assert not check({"selection": {"use": "mine", "levle": 4}})
    assert not check({"selection": {"use": "nobody"}})
    assert check({"selection": {"exploration": 0.5}})  # the default's own options
    assert not check({"run": {"workers": "two"}})
    names = set(schema["properties"])
    assert {"run", "ladder", "operators", "checkers", "trackers", "plugins"} <= names
