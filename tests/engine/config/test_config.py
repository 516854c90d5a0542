"""Strict experiments: what is read, and every fault with its place."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, ValidationError

from genesys_engine.engine.config import ConfigError, Experiment, Problem, load_experiment
from genesys_engine.engine.config.schema import DEFAULT_OPERATORS
from genesys_engine.engine.config.template import template, to_toml
from genesys_engine.gab.errors import EXIT_INPUT, InputError
from genesys_engine.plugins.api import Options
from genesys_engine.plugins.registry import Description, Registry


class Inner(Options):
    depth: int = Field(1, ge=1)


class Knobs(Options):
    exploration: float = Field(0.2, ge=0, le=1)
    marks: tuple[int, ...] = (1,)
    inner: Inner = Inner()


class Thing:
    Options = Knobs


class Lax:
    class Options(Options):
        limit: float = Field(1.0, gt=0)


@pytest.fixture(scope="module")
def registry() -> Registry:
    """Components that cost nothing, under the names of the defaults."""
    names = {
        "selector": ("quadrant", "random"),
        "operator": DEFAULT_OPERATORS,
        "trainer": ("torch",),
        "evaluator": ("heldout", "lm_eval"),
        "executor": ("process",),
    }
    registry = Registry()
    for kind, known in names.items():
        for name in known:
            target = f"{__name__}:Thing"
            registry.register(Description(kind, name, target, "", "test", "1"))
    registry.register(Description("selector", "lax", f"{__name__}:Lax", "", "test", "1"))
    absent = Description("selector", "absent", f"{__name__}:Gone", "", "test", "1")
    registry.register(absent)
    return registry


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trial.toml"


def faults(file: Path, text: str, registry: Registry, *sets: str) -> tuple[Problem, ...]:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_experiment(file, sets, registry)
    assert caught.value.exit_code == EXIT_INPUT
    return caught.value.problems


def fault(file: Path, text: str, registry: Registry, *sets: str) -> Problem:
    (problem,) = faults(file, text, registry, *sets)
    return problem


# --- what is easily forgotten ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[run]\nname = quick", 'name = "quick"'),
        ("[run]\nname = quick start  # the first", 'name = "quick start"'),
        ("[run]\nname = 2nd-try", 'name = "2nd-try"'),
        ("[[ladder.rungs]]\nscale = 0.2M\nverifications = 4", 'scale = "0.2M"'),
        ("[corpus]\nuse = text\npaths = []", 'use = "text"'),
        ("[corpus]\npaths = [mytexts]", '"mytexts"'),
        ("[corpus]\npaths = [\n  my/texts,\n]", '"my/texts"'),
        ("[run]\nname = “quick”", "straight quotes"),
        ("[run]\nname =", "give name a value"),
        ("[trainer]\ncompile = True", "compile = true"),
    ],
)
def test_text_without_quotes_is_answered_with_what_to_write(
    file: Path, registry: Registry, text: str, hint: str
) -> None:
    problem = fault(file, text + "\n", registry)
    assert problem.hint is not None
    assert hint in problem.hint
    assert problem.place is not None


@pytest.mark.parametrize("text", ['[run]\nname = "quick', "[run\nseed = 1", "[run]\nseed = 1 2"])
def test_a_hint_is_given_only_where_it_helps(file: Path, registry: Registry, text: str) -> None:
    hint = fault(file, text + "\n", registry).hint
    assert hint is None or "seed = " in hint


def test_a_lone_string_is_a_list_of_one(file: Path, registry: Registry) -> None:
    file.write_text('[population]\nseeds = "gpt"\n[plugins]\ndisable = "some"\n')
    experiment = load_experiment(file, (), registry)
    assert (experiment.population.seeds, experiment.plugins.disable) == (("gpt",), ("some",))
    file.write_text("")
    sets = (
        "population.seeds=mamba2",
        "population.reference=mamba2",
        f"sandbox.readable={file.parent}",
    )
    experiment = load_experiment(file, sets, registry)
    assert experiment.population.seeds == ("mamba2",)
    assert experiment.sandbox.readable == (str(file.parent),)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("population.seeds=gtp", "'gpt'"),  # near names of the item, not of the list
        ("population.seeds=1", "population.seeds must be a valid"),
        ("population.parents=many", "population.parents must be a valid"),
    ],
)
def test_a_wrong_lone_value_is_told_as_what_it_is(
    file: Path, registry: Registry, override: str, said: str
) -> None:
    found = faults(file, "", registry, override)
    assert any(said in f"{problem.message} {problem.hint}" for problem in found)


# --- what is read ------------------------------------------------------------------------------


def test_an_empty_file_is_the_default_experiment(file: Path, registry: Registry) -> None:
    file.write_text("")
    read = load_experiment(file, (), registry)
    assert read.run.name == "trial"  # of the file
    assert read.population.seeds == ("gpt", "mamba2", "retnet", "rwkv6", "ttt")
    assert [entry.use for entry in read.operators] == list(DEFAULT_OPERATORS)
    assert read.selection.use == "quadrant"
    assert read.selection.options == {"exploration": 0.2, "marks": [1], "inner": {"depth": 1}}


FULL = """
[run]
name = "a \\"quoted\\" name \\u007f é"
seed = 7
mode = "generational"
[population]
seeds = ["ttt", "gpt"]
parents = [0, 1, 0]
[corpus]
use = "text"
paths = ["some.txt"]
[[ladder.rungs]]
scale = "0.2M"
verifications = 9
tokens = 1000
[[ladder.rungs]]
scale = "4M"
verifications = 3
peak_lr = 1e-3
[selection]
use = "random"
exploration = 0.5
[selection.inner]
depth = 4
[[operators]]
use = "removal"
weight = 2
marks = [1, 2]
[executor]
timeout_s = 10
marks = []
[budget]
designs = 3
wall_hours = 0.5
"""


def test_everything_can_be_said(file: Path, registry: Registry) -> None:
    file.write_text(FULL)
    read = load_experiment(file, (), registry)
    assert read.run.mode == "generational"
    assert [rung.scale for rung in read.ladder.rungs] == ["0.2M", "4M"]
    assert (read.ladder.rungs[0].tokens, read.ladder.rungs[1].tokens) == (1000, None)
    assert read.population.parents == (0.0, 1.0, 0.0)
    assert read.selection.options["inner"] == {"depth": 4}
    assert (read.operators[0].weight, read.operators[0].options["marks"]) == (2.0, [1, 2])
    assert (read.executor.timeout_s, read.executor.options["marks"]) == (10.0, [])
    with pytest.raises(ValidationError, match="frozen"):
        read.run.seed = 8  # type: ignore[misc]


@pytest.mark.parametrize("text", ["", FULL])
def test_what_is_written_is_read_back_the_same(file: Path, registry: Registry, text: str) -> None:
    file.write_text(text)
    read = load_experiment(file, (), registry)
    assert json.loads(json.dumps(read.to_json())) == read.to_json()
    file.write_text(to_toml(read))
    again = load_experiment(file, (), registry)
    assert again == read
    assert again.digest == read.digest


def test_the_template_holds_the_defaults(file: Path, registry: Registry) -> None:
    text = template()
    file.write_text(text)
    read = load_experiment(file, ('run.name="x"',), registry)
    file.write_text("")
    assert read == load_experiment(file, ('run.name="x"',), registry)
    for name in Experiment.model_fields:
        assert f"[{name}]" in text


def test_the_digest_is_of_what_can_change_a_result(file: Path, registry: Registry) -> None:
    file.write_text("")

    def digest(*sets: str) -> str:
        return load_experiment(file, sets, registry).digest

    same = {digest(), digest("run.workers=7"), digest("run.name=b"), digest("executor.timeout_s=9")}
    assert len(same) == 1
    same |= {digest("budget.wall_hours=3"), digest("budget.llm_tokens=9")}
    assert len(same) == 1
    for change in (
        "run.seed=2",
        "run.lookahead=3",
        "selection.exploration=0.1",
        "budget.designs=9",
    ):
        assert digest(change) not in same, change


def test_the_experiments_of_the_repository_are_valid() -> None:
    folder = Path(__file__).resolve().parents[3] / "experiments"
    files = sorted(folder.glob("*.toml"))
    assert folder / "quickstart.toml" in files
    for path in files:
        load_experiment(path)  # with the installed plugins


# --- faults, each with its place ---------------------------------------------------------------

RUNG = '[[ladder.rungs]]\nscale = "0.2M"\nverifications = 24\n'

FAULTS: dict[str, tuple[str, int, int, str, str]] = {
    "misspelt section": ("\n[rnu]\nseed = 1\n", 2, 2, "section [rnu]", "'run'"),
    "misspelt key": ("[run]\n\tworker = 2\n", 2, 2, "unknown key 'worker' in [run]", "'workers'"),
    "dotted key": ("run.wrkers = 2\n", 1, 5, "unknown key 'wrkers' in [run]", "'workers'"),
    "inline table": (
        "run = { seed = 1, sed = 2 }\n", 1, 19, "unknown key 'sed' in [run]", "'seed'"),
    "in an array of tables": (
        RUNG + RUNG.replace("0.2M", "1M").replace("verifications", "verification"),
        4, 10, "missing key 'verifications' in [[ladder.rungs]] 2", "",
    ),
    "nothing but the reference at the top": (
        RUNG + RUNG.replace("0.2M", "1M").replace("24", "1"),
        6, 17, "verifications = 1 at 1M leaves nothing besides the reference",
        "give at least 2, or [ladder] finalists",
    ),
    "nothing but the noise in the middle, finals or not": (
        "[ladder]\nfinalists = 1\n" + RUNG
        + RUNG.replace("0.2M", "1M").replace("24", "3\nnoise_seeds = 3")
        + RUNG.replace("0.2M", "4M"),
        8, 17, "which uses noise_seeds = 3 of them", "give at least 4",
    ),
    "missing key": (
        "[ladder]\n" + RUNG.replace('scale = "0.2M"\n', ""),
        2, 10, "missing key 'scale' in [[ladder.rungs]] 1", "",
    ),
    "missing use": ("[[operators]]\nweight = 1.0\n", 1, 3, "missing key 'use'", ""),
    "wrong type": (
        '[run]\nworkers = "two"  # really\n',
        2, 11, "run.workers must be a valid integer, not 'two'", "",
    ),
    "number as string": ('[run]\nseed = "1"\n', 2, 8, "run.seed must be a valid integer", ""),
    "truth as number": ("[run]\nseed = true\n", 2, 8, "run.seed must be a valid integer", ""),
    "below the limit": ("[run]\nworkers = 0\n", 2, 11, "greater than or equal to 1, not 0", ""),
    "not one of": ('[run]\nmode = "steady"\n', 2, 8, "'steady_state' or 'generational'", ""),
    "negative budget": (
        "[budget]\ndesigns = -5\n",
        2, 11, "budget.designs must be greater than or equal to 1, not -5", "",
    ),
    "negative hours": ("[budget]\nwall_hours = -0.5\n", 2, 14, "greater than 0, not -0.5", ""),
    "endless hours": ("[budget]\nwall_hours = inf\n", 2, 14, "must be a finite number", ""),
    "item of a list": (
        "[population]\nparents = [0.5, 0.5, -1]\n",
        2, 22, "population.parents (item 3) must be", "",
    ),
    "too few": ("[population]\nparents = [0.5, 0.5]\n", 2, 11, "population.parents has too", ""),
    "sum": ("[population]\nparents = [0.5, 0.5, 0.5]\n", 2, 11, "sum to 1.5, not", ""),
    "unknown seed": (
        '[population]\nseeds = [\n  "gpt",\n  "mamba",\n]\n',
        4, 3, "unknown seed 'mamba'", "'mamba2'",
    ),
    "seed twice": ('[population]\nseeds = ["gpt", "gpt"]\n', 2, 17, "'gpt' is named twice", ""),
    "reference": (
        '[population]\nseeds = ["ttt"]\nreference = "ttl"\n',
        3, 13, "the reference 'ttl' is not one of population.seeds", "'ttt'",
    ),
    "a misspelt seed is no fault of the reference": (
        '[population]\nseeds = ["gtp"]\n',
        2, 10, "unknown seed 'gtp'", "did you mean 'gpt'? (",
    ),
    "unknown scale": (RUNG.replace("0.2M", "0.3M"), 2, 9, "unknown scale '0.3M'", "'0.2M'"),
    "scales in disorder": (
        RUNG.replace("0.2M", "4M") + RUNG,
        5, 9, "scale 0.2M does not lie above 4M", "smallest scale",
    ),
    "cap below seeds": (RUNG.replace("24", "4"), 3, 17, "cannot hold the 5 seeds", "at least 5"),
    "no rungs": ("[ladder]\nrungs = []\n", 2, 9, "ladder.rungs must have at least 1 item", ""),
    "unknown plugin": (
        '[selection]\nuse = "quadrent"\n',
        2, 7, "unknown selector 'quadrent'", "did you mean 'quadrant'?",
    ),
    "unknown operator": (
        '[[operators]]\nuse = "removal"\n[[operators]]\nuse = "remval"\n',
        4, 7, "unknown operator 'remval'", "'removal'",
    ),
    "a component that is gone": (
        '[selection]\nuse = "absent"\n',
        2, 7, "cannot import", "genesys-engine plugins",
    ),
    "misspelt option": (
        '[selection]\nuse = "quadrant"\nexplore = 0.1\n',
        3, 1, "unknown key 'explore' in [selection]", "'exploration'",
    ),
    "option of the default": (
        "[selection]\nexploration = 1.5\n",
        2, 15, "selection.exploration must be less than or equal to 1, not 1.5", "",
    ),
    "nested option": (
        "[selection.inner]\ndeph = 1\n",
        2, 1, "unknown key 'deph' in [selection.inner]", "'depth'",
    ),
    "endless option": (
        '[selection]\nuse = "lax"\nlimit = inf\n',
        3, 9, "selection.limit must be a finite number, not inf", "such as 1e30",
    ),
    "endless option of an arm": (
        '[[compare.arms]]\nname = "a"\nimplementer = "gp"\noptions = { temperature = inf }\n',
        4, 27, "temperature must be a finite number, not inf", "such as 1e30",
    ),
    "roles of what is no language model": (
        "[trainer.roles]\na = 1\n",
        1, 10, "unknown key 'roles' in [trainer]", "",
    ),
    "zero byte in a plugin": (
        '[plugins]\nlocal = ["a\\u0000b"]\n', 2, 10, "it holds a zero byte", "correct it",
    ),
    "zero byte in a base": ('[knowledge]\nbase = "a\\u0000b"\n', 2, 8, "holds a zero byte", ""),
    "zero byte in proposals": ('[compare]\nproposals = "\\u0000"\n', 2, 13, "a zero byte", ""),
    "weight": ('[[operators]]\nuse = "removal"\nweight = 0\n', 3, 10, "greater than 0, not 0", ""),
    "section as value": ("run = 3\n", 1, 7, "'run' must be a table", "[run]"),
    "section as list": ("[[run]]\nseed = 1\n", 1, 3, "'run' must be a table", "[run]"),
    "one operator": ('[operators]\nuse = "removal"\n', 1, 2, "a list of tables", "[[operators]]"),
    "two selections": ('[[selection]]\nuse = "random"\n', 1, 3, "must be one table", "[selection]"),
    "corpus": ('[corpus]\nuse = "text"\n', 1, 2, "needs `paths`", ""),
    "syntax": ("[run]\nseed = \n", 2, 8, "not TOML", ""),
    "syntax at the end": ("[run]\nseed = [1,\n", 2, 11, "not TOML", ""),
    "key twice": ("[run]\nseed = 1\nseed = 2\n", 3, 9, "not TOML", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_has_its_place_and_a_way_out(file: Path, registry: Registry, case: str) -> None:
    text, line, column, message, hint = FAULTS[case]
    problems = faults(file, text, registry)
    found = next((p for p in problems if message in p.message), None)
    assert found is not None, [str(problem) for problem in problems]
    assert found.where == f"{file}:{line}:{column}", str(found)
    assert hint in (found.hint or "")


def test_a_fault_is_shown_with_its_line_and_a_caret(file: Path, registry: Registry) -> None:
    problem = fault(file, "[run]\n\tworker = 2 # é\n", registry)
    assert str(problem) == (
        f"{file}:2:2: unknown key 'worker' in [run]\n"
        "    2 | \tworker = 2 # é\n"
        "      | \t^^^^^^\n"
        "  help: did you mean 'workers'?"
    )


def test_all_faults_are_told_at_once_in_the_order_of_the_file(
    file: Path, registry: Registry
) -> None:
    text = (
        '[budget]\ndesigns = -1\n[selection]\nuse = "nope"\n[run]\nsed = 1\nworkers = "x"\n'
        '[population]\nreference = "nobody"\n[extra]\n'
    )
    problems = faults(file, text, registry, "run.lookahead=0")
    assert [p.where.removeprefix(f"{file}:") for p in problems] == [
        "2:11", "4:7", "6:1", "7:11", "9:13", "10:2", "--set run.lookahead=0",
    ]  # fmt: skip
    error = ConfigError(problems)
    assert str(error).endswith("7 faults; nothing was started")
    assert [p.to_json()["line"] for p in problems] == [2, 4, 6, 7, 9, 10, None]


def test_windows_line_ends_keep_the_lines(file: Path, registry: Registry) -> None:
    file.write_bytes(b"[run]\r\nseed = 1\r\nsede = 2\r\n")
    with pytest.raises(ConfigError) as caught:
        load_experiment(file, (), registry)
    assert caught.value.problems[0].where == f"{file}:3:1"


def test_a_file_that_is_not_utf_8(file: Path, registry: Registry) -> None:
    file.write_bytes(b'[run]\nname = "caf\xe9"\n')
    with pytest.raises(ConfigError) as caught:
        load_experiment(file, (), registry)
    assert caught.value.problems[0].where == f"{file}:2:12"
    assert "UTF-8" in caught.value.problems[0].message


def test_a_missing_file_and_a_folder(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(InputError, match="no such file") as caught:
        load_experiment(tmp_path / "none.toml", (), registry)
    assert caught.value.where == str(tmp_path / "none.toml")
    with pytest.raises(InputError, match="cannot be read"):
        load_experiment(tmp_path, (), registry)


def test_nesting_without_end_is_refused(file: Path, registry: Registry) -> None:
    file.write_text("a = " + "[" * 5000 + "]" * 5000)
    with pytest.raises(InputError, match="nested"):
        load_experiment(file, (), registry)


def test_a_default_that_does_not_work_here_is_no_fault_of_a_line(file: Path) -> None:
    file.write_text("[run]\n")
    with pytest.raises(ConfigError) as caught:
        load_experiment(file, (), Registry())
    first = caught.value.problems[0]
    assert first.where == str(file)
    assert first.message == "unknown selector 'quadrant' (the default of [selection])"


# --- overrides ---------------------------------------------------------------------------------


def test_overrides(file: Path, registry: Registry) -> None:
    file.write_text(FULL)
    sets = (
        "run.seed=8",
        "run.name=plain words",
        'population.seeds=["gpt"]',
        "ladder.rungs.1.verifications=5",
        "selection={use='random', exploration=1}",
        "executor.marks = [3]",
        "run.seed=9",
        "fitness.metric=continuation:acc",
    )
    read: Any = load_experiment(file, sets, registry)
    assert (read.run.seed, read.run.name) == (9, "plain words")
    assert read.population.seeds == ("gpt",)
    assert [rung.verifications for rung in read.ladder.rungs] == [9, 5]
    assert read.selection.options["exploration"] == 1.0
    assert read.executor.options["marks"] == [3]
    assert read.fitness.metric == "continuation:acc"


OVERRIDE_FAULTS = {
    "run.wrkers=3": ("unknown key 'wrkers' in [run]", "'workers'"),
    "rnu.workers=3": ("section [rnu]", "'run'"),
    "run.workers=two": ("run.workers must be a valid integer, not 'two'", ""),
    "run.workers": ("not of the form section.key=VALUE", ""),
    "=3": ("not of the form section.key=VALUE", ""),
    "run workers=3": ("not of the form section.key=VALUE", ""),
    'population.seeds=["gpt"': ("the value is not TOML", ""),
    "budget.designs=-1": ("greater than or equal to 1, not -1", ""),
    "ladder.rungs.7.tokens=5": ("'ladder.rungs' is a list of 2; '7' is none", ""),
    "run.seed.deep=5": ("'run.seed' is not a table", ""),
    "selection.use=quadrent": ("unknown selector 'quadrent'", "'quadrant'"),
    'ladder.rungs=[{scale="1M"}]': ("missing key 'verifications'", ""),
}


@pytest.mark.parametrize("text", OVERRIDE_FAULTS)
def test_a_fault_in_an_override_names_it(file: Path, registry: Registry, text: str) -> None:
    message, hint = OVERRIDE_FAULTS[text]
    problem = fault(file, FULL, registry, text)
    assert problem.where == f"--set {text}"
    assert message in problem.message
    assert hint in (problem.hint or "")


def test_an_override_beside_a_fault_of_the_file(file: Path, registry: Registry) -> None:
    problem = fault(file, "[run]\nsede = 1\n", registry, "run.workers=1")
    assert problem.where == f"{file}:2:1"


# --- plugins -----------------------------------------------------------------------------------


def test_required_plugins_are_checked_at_their_place(file: Path) -> None:
    file.write_text('[plugins]\nrequire = ["genesys-engine", "genesys-engine-moon"]\n')
    with pytest.raises(ConfigError) as caught:
        load_experiment(file)
    (problem,) = caught.value.problems
    assert problem.where == f"{file}:2:30"
    assert "'genesys-engine-moon' is required but not installed" in problem.message
