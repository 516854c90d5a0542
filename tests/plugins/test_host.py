"""The plugin host, with distributions that are really installed and really broken.

A folder with a module and a `*.dist-info` on the path is an installed distribution for
`importlib.metadata`; each test looks at it from a fresh process.
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import commands
import pytest

ROOT = Path(__file__).resolve().parents[2]

GOOD = """
from genesys_engine.plugins.hookspecs import hookimpl

@hookimpl
def genesys_register_selectors(register):
    register("{name}", "{module}:Lazy", summary="a selector", options="{module}:Lazy")
"""

PROBE = """
import json, sys
from dataclasses import asdict
from genesys_engine.gab.errors import PluginError
from genesys_engine.plugins.host import PluginHost
host = PluginHost(disable={disable!r})
seen = dict(modules=sorted(sys.modules))
try:
    {code}
except PluginError as error:
    seen["error"] = str(error)
seen["records"] = {{record.id: asdict(record) for record in host.records}}
seen["order"] = [record.id for record in host.records]
seen["selectors"] = host.registry.names("selector")
print("ANSWER" + json.dumps(seen))
"""


class Site:
    """A folder of distributions that a child process finds installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, dist: str, source: str, *, module: str = "", entry: str = "main") -> str:
        module = module or dist.replace("-", "_")
        if source:
            (self.folder / f"{module}.py").write_text(source.format(name=dist, module=module))
        info = self.folder / f"{dist.replace('-', '_')}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[genesys_engine]\n{entry} = {module}\n")
        return module

    def probe(
        self, code: str = "pass", *, disable: tuple[str, ...] = (), **environment: str
    ) -> dict[str, Any]:
        done = self.run(
            [sys.executable, "-c", PROBE.format(code=code, disable=disable)], environment
        )
        assert done.returncode == 0, done.stderr
        before, _, answer = done.stdout.partition("ANSWER")
        assert before == ""  # stdout belongs to answers, whatever a plugin prints
        return json.loads(answer)  # type: ignore[no-any-return]

    def run(self, command: list[str], environment: dict[str, str]) -> Any:
        path = os.pathsep.join([str(ROOT), str(self.folder)])
        env = os.environ | {"PYTHONPATH": path} | environment
        return commands.run(command, env=env, timeout=280)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_plugin_is_found_and_its_component_not_imported(site: Site) -> None:
    site.install("genesys-engine-wild", GOOD)
    seen = site.probe(
        "seen['described'] = host.registry.get('selector', 'genesys-engine-wild').to_json()"
    )
    record = seen["records"]["genesys-engine-wild:main"]
    assert record["status"] == "active"
    assert (record["version"], record["target"]) == ("1.5", "genesys_engine_wild")
    assert seen["described"]["distribution"] == "genesys-engine-wild"
    assert seen["described"]["version"] == "1.5"
    # the target names a class that does not even exist: nobody has looked


BROKEN = {
    "import": ("x = 1\nraise RuntimeError('no luck')\n", "import", 2, "RuntimeError: no luck"),
    "exit": ("import sys\n\nsys.exit('bye')\n", "import", 3, "SystemExit: bye"),
    "syntax": ("def f(:\n    pass\n", "import", 1, "SyntaxError"),
    "missing": ("import a_package_that_is_not_there\n", "import", 1, "ModuleNotFoundError"),
    "hook": (
        GOOD + "\n@hookimpl\ndef genesys_register_trainers(register):\n    1 / 0\n",
        "genesys_register_trainers",
        10,
        "ZeroDivisionError",
    ),
    "unknown-hook": (
        GOOD + "\n@hookimpl\ndef genesys_register_trianers(register):\n    pass\n",
        "hooks",
        None,
        "genesys_register_trianers",
    ),
    "signature": (
        GOOD + "\n@hookimpl\ndef genesys_should_stop(state):\n    pass\n",
        "hooks",
        None,
        "state",
    ),
    "target": (GOOD.replace(":Lazy", ".Lazy", 1), "genesys_register_selectors", 6, "Lazy"),
    "name": (GOOD.replace('"{name}"', '"My Own"'), "genesys_register_selectors", 6, "My Own"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_hurts_nobody_else(site: Site, case: str) -> None:
    source, hook, line, message = BROKEN[case]
    broken = site.install("aa-broken", source)
    site.install("zz-good", GOOD)
    seen = site.probe()
    record = seen["records"]["aa-broken:main"]
    assert record["status"] == "broken"
    assert record["where"] == hook
    assert message in record["message"]
    if line:
        assert record["location"] == f"{site.folder / broken}.py:{line}"
    assert seen["records"]["zz-good:main"]["status"] == "active"
    assert "zz-good" in seen["selectors"]
    assert "quadrant" in seen["selectors"]
    assert "aa-broken" not in seen["selectors"]  # all that it brings, or nothing


def test_a_broken_plugin_is_fatal_only_if_used(site: Site) -> None:
    site.install("aa-broken", "1 / 0\n")
    seen = site.probe("host.registry.get('selector', 'aa-broken')")
    assert "unknown selector 'aa-broken'" in seen["error"]
    assert re.search(r"aa-broken 1\.5 is broken: import \(.*aa_broken\.py:1\)", seen["error"])
    assert "error" not in site.probe("host.registry.get('selector', 'quadrant')")


def test_required_plugins(site: Site) -> None:
    site.install("aa-broken", "1 / 0\n")
    site.install("zz-good", GOOD)
    assert "error" not in site.probe("host.require(['zz_good', 'main'][:1])")
    assert "ZeroDivisionError" in site.probe("host.require(['zz-good', 'aa-broken'])")["error"]
    missing = site.probe("host.require(['zz-goood'])")["error"]
    assert "required but not installed" in missing
    assert "did you mean 'zz-good'?" in missing
    disabled = site.probe("host.require(['zz-good'])", disable=("zz-good",))["error"]
    assert "is disabled" in disabled


@pytest.mark.parametrize("name", ["zz-good", "ZZ_good", "special", "zz-good:special"])
def test_disabled_plugins_are_not_even_imported(site: Site, name: str) -> None:
    module = site.install("zz-good", GOOD, entry="special")
    by_list = site.probe(disable=(name,))
    by_variable = site.probe(GENESYS_DISABLE_PLUGINS=f"other, {name}")
    for seen in (by_list, by_variable):
        assert seen["records"]["zz-good:special"]["status"] == "disabled"
        assert module not in seen["modules"]
        assert "zz-good" not in seen["selectors"]
    assert module in site.probe()["modules"]


def test_the_order_is_by_distribution_and_name_after_the_built_ins(site: Site) -> None:
    for dist in ("mm-mid", "aa-first", "zz-last"):
        site.install(dist, GOOD)
    order = site.probe()["order"]
    assert order == ["genesys-engine:builtin", "aa-first:main", "mm-mid:main", "zz-last:main"]


def test_a_collision_names_both_distributions(site: Site) -> None:
    site.install("zz-rival", GOOD.replace('"{name}"', '"quadrant"'))
    seen = site.probe("host.registry.get('selector', 'quadrant')")
    assert "by genesys-engine 0" in seen["error"]
    assert "by zz-rival 1.5" in seen["error"]
    assert 'disable = ["zz-rival"]' in seen["error"]
    assert seen["records"]["zz-rival:main"]["status"] == "broken"
    freed = site.probe("host.registry.get('selector', 'quadrant')", disable=("zz-rival",))
    assert "error" not in freed


def test_a_plugin_that_prints_does_not_spoil_stdout(site: Site) -> None:
    site.install("aa-loud", "print('hello')\n" + GOOD)
    assert site.probe()["records"]["aa-loud:main"]["status"] == "active"  # probe looks at stdout


OBSERVER = """
from genesys_engine.plugins.hookspecs import hookimpl
seen = []

@hookimpl
def genesys_on_event(event):
    seen.append(event["id"])
    if {module!r} == "mm_faulty" and event["id"] == 2:
        raise ValueError("cannot bear two")
    if {module!r} == "nn_greedy":
        event["inner"]["id"] = 99
"""


def test_an_observer_that_raises_is_named_once_and_switched_off(site: Site) -> None:
    for dist in ("aa-watch", "mm-faulty", "nn-greedy", "zz-watch"):
        site.install(dist, OBSERVER)
    seen = site.probe(
        "seen['failed'] = [[r.describe() for r in host.emit({'id': i, 'inner': {'id': i}})]"
        " for i in (1, 2, 3)];"
        "seen['calls'] = [sys.modules[m].seen for m in ('aa_watch', 'mm_faulty', 'nn_greedy',"
        " 'zz_watch')]"
    )
    first, second, third = seen["failed"]
    assert len(first) == 1
    assert "nn-greedy" in first[0]  # payloads are read-only, all the way down
    assert len(second) == 1
    assert re.search(r"mm-faulty 1\.5 is silenced: .*mm_faulty\.py:9.*cannot bear two", second[0])
    assert third == []
    assert seen["calls"] == [[1, 2, 3], [1, 2], [1], [1, 2, 3]]


STOPPER = """
from genesys_engine.plugins.hookspecs import hookimpl

@hookimpl
def genesys_should_stop(status):
    if status["designs"] < 0:
        raise ValueError("less than none")
    return {name!r} if status["designs"] > 5 and {name!r} != "aa-shy" else None
"""


def test_the_first_answer_decides(site: Site) -> None:
    for dist in ("aa-shy", "bb-first", "cc-second"):
        site.install(dist, STOPPER)
    seen = site.probe(
        "seen['answers'] = [host.decide('genesys_should_stop', status={'designs': n})"
        " for n in (1, 9)]"
    )
    assert seen["answers"] == [None, "bb-first"]


def test_a_decision_that_raises_is_an_error_that_names_the_plugin(site: Site) -> None:
    site.install("bb-first", STOPPER)
    seen = site.probe("host.decide('genesys_should_stop', status={'designs': -1})")
    assert re.search(r"bb-first 1\.5 .*bb_first\.py:7.*less than none", seen["error"])


COMMAND = """
import click
from genesys_engine.plugins.hookspecs import hookimpl

@hookimpl
def genesys_commands(cli):
    @cli.command("{name}")
    def say():
        click.echo("said by {name}")
"""


def test_commands_of_plugins(site: Site) -> None:
    site.install("greet", COMMAND)
    site.install("zz-thief", COMMAND.replace("{name}", "run"))
    program = [sys.executable, "-m", "genesys_engine.engine.cli"]
    done = site.run([*program, "greet"], {})
    assert (done.returncode, done.stdout) == (0, "said by greet\n")
    wrong = site.run([*program, "gret"], {})
    assert wrong.returncode == 2
    assert "did you mean 'greet'" in wrong.stderr
    seen = site.probe(
        "from genesys_engine.engine.cli.app import cli; host.add_commands(cli)\n"
        "    seen['commands'] = sorted(cli.commands)"
    )
    assert seen["commands"] == ["greet"]
    assert "'run' exists already" in seen["records"]["zz-thief:main"]["message"]


def test_the_same_object_twice_is_one_plugin(site: Site) -> None:
    module = site.install("aa-one", GOOD)
    site.install("bb-two", "", module=module)
    seen = site.probe()
    assert seen["records"]["aa-one:main"]["status"] == "active"
    assert "another entry point" in seen["records"]["bb-two:main"]["message"]
    assert "aa-one" in seen["selectors"]


def test_damaged_metadata_hurts_nobody_else(site: Site) -> None:
    site.install("zz-good", GOOD)
    site.install("bb-bytes", GOOD)
    (site.folder / "bb_bytes-1.5.dist-info" / "entry_points.txt").write_bytes(b"\xff\xfe[")
    site.install("cc-half", GOOD)
    (site.folder / "cc_half-1.5.dist-info" / "METADATA").unlink()
    seen = site.probe()
    assert seen["records"]["zz-good:main"]["status"] == "active"
    assert seen["records"]["bb-bytes:?"]["status"] == "broken"
    assert "UnicodeDecodeError" in seen["records"]["bb-bytes:?"]["message"]
    assert any(f"unknown in {site.folder}" in name for name in seen["order"])


def test_the_first_distribution_on_the_path_hides_others(site: Site, tmp_path: Path) -> None:
    other = Site(tmp_path / "other")
    other.folder.mkdir()
    other.install("aa-one", "1 / 0\n")
    site.install("aa-one", GOOD)
    path = os.pathsep.join([str(ROOT), str(site.folder), str(other.folder)])
    seen = site.probe(PYTHONPATH=path)
    assert seen["order"].count("aa-one:main") == 1
    assert seen["records"]["aa-one:main"]["status"] == "active"


def test_plugins_command_shows_what_is_broken(site: Site) -> None:
    site.install("aa-broken", "x = 1\n1 / 0\n")
    program = [sys.executable, "-m", "genesys_engine.engine.cli", "plugins"]
    listed = json.loads(site.run([*program, "list", "--json"], {}).stdout)
    assert listed["schema"] == 1
    assert {p["status"] for p in listed["data"]["plugins"]} == {"active", "broken"}
    assert any(c["name"] == "quadrant" for c in listed["data"]["components"])
    broken = json.loads(site.run([*program, "--broken", "--json"], {}).stdout)["data"]["plugins"]
    assert [p["distribution"] for p in broken] == ["aa-broken"]
    site.install("zz-thief", COMMAND.replace("{name}", "run"))
    table = site.run([*program, "list", "--broken"], {}).stdout
    assert "the command 'run' exists already" in table
    assert f"{site.folder}/aa_broken.py:2" in table
    assert "ZeroDivisionError" in table
