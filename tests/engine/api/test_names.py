"""The public names: listed once, found by tools, and nothing heavy behind `import`."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path

import commands
import pytest

import genesys_engine as ge

ROOT = Path(__file__).parents[3]
HEAVY = (
    "torch",
    "pandas",
    "numpy",
    "pydantic",
    "click",
    "rich",
    "tomli",
    "transformers",
    "pyarrow",
)


def test_an_import_brings_nothing_with_it() -> None:
    code = f"""
import sys
before = set(sys.modules)
import genesys_engine as ge
ours = [name for name in sys.modules if name.startswith("genesys_engine.")]
print(ours, [name for name in {HEAVY} if name in sys.modules])
ge.EngineError, ge.Experiment
print([name for name in ("torch", "pandas", "click", "transformers") if name in sys.modules])
"""
    done = commands.run([sys.executable, "-c", code], check=True)
    assert done.stdout.splitlines() == ["[] []", "[]"]


def test_every_name_is_there_and_documented() -> None:
    assert sorted(ge.__all__) == list(ge.__all__) == sorted(ge._PUBLIC)
    for name in ge.__all__:
        found = getattr(ge, name)
        assert inspect.getdoc(found), name
        assert name in dir(ge)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ge.nothing  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    module = ast.parse(Path(ge.__file__).read_text())
    (block,) = (
        node for node in module.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)
    )
    seen = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        (alias,) = node.names
        seen[alias.asname] = f"{node.module}:{alias.name}"
    real = {name: at if ":" in at else f"{at}:{name}" for name, at in ge._PUBLIC.items()}
    assert seen == real


SCRIPT = """
from __future__ import annotations

import genesys_engine as ge


def best(path: str) -> float | None:
    experiment = ge.Experiment.from_dict({"run": {"seed": 1}}).override({"run.seed": 2})
    run: ge.Run = ge.run(experiment, out=path, on_event=lambda event: print(event.kind))
    design = run.best
    if design is None:
        return None
    model = ge.load_model(run, design, trust_code=True)
    reveal_type(model.config.context)
    reveal_type(ge.check(design.source).findings[0].code)
    reveal_type(ge.plan(experiment).seconds)
    reveal_type(ge.compare("study.toml").findings)
    return design.fitness


try:
    ge.Run("nowhere")
except ge.InputError as error:
    reveal_type(error.hint)
ge.no_such_name
ge.run(5)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_script_of_a_user_is_checked_strictly(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    # With the options and the cache of `make lint`: strict, and all of the package known already.
    done = commands.run(
        [sys.executable, "-m", "mypy", tmp_path / "script.py"],
        cwd=ROOT,
    )
    told = re.findall(r"script.py:\d+: (\w+): (.*)", done.stdout)
    revealed = [re.findall(r'"(.*)"', text)[0] for kind, text in told if "Revealed" in text]
    assert revealed == ["int", "str", "float", "tuple[str, ...]", "str | None"], done.stdout
    errors = [text for kind, text in told if kind == "error"]
    assert [text.rpartition("[")[2] for text in errors] == ["attr-defined]", "arg-type]"]
