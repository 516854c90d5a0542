"""What is imported is declared in pyproject.toml, and what is declared is used."""

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Set
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import tomli

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
SHIPPED = ("engine", "gab", "operators", "plugins")
SCRIPTS = ("tests", "docs", "experiments/bench", "experiments/local_llm")
LATER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Try)
DISTRIBUTIONS = packages_distributions()

TRIED = {"flash_attn", "mamba_ssm", "triton"}  # kernels that a block may try to import
NEVER_IMPORTED = {"accelerate", "einops"}  # by us: by lm-eval's HFLM, and by blocks


def normal(name: str) -> str:
    """Return the name of a distribution as packaging compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: Iterable[str]) -> set[str]:
    return {normal(re.match(r"[\w.-]+", each).group()) for each in requirements}


CORE = names(PROJECT["dependencies"])
DECLARED = CORE | names(each for extra in EXTRAS.values() for each in extra)


def distributions_of(module: str) -> set[str]:
    return {normal(each) for each in DISTRIBUTIONS.get(module, [module])}


def imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Yield the package of every import, and whether importing the file carries it out."""
    waiting: list[tuple[ast.AST, bool]] = [(tree, True)]
    while waiting:
        node, at_once = waiting.pop()
        if isinstance(node, ast.Import):
            yield from ((each.name.split(".")[0], at_once) for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0], at_once
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            argument = node.args[0]
            if isinstance(argument, ast.Constant):
                yield argument.value.split(".")[0], at_once
        at_once = at_once and not isinstance(node, LATER)
        at_once = at_once and not (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        )
        waiting += [(child, at_once) for child in ast.iter_child_nodes(node)]


def imported(folders: Iterable[str], own: Set[str] = frozenset()) -> dict[tuple[str, str], bool]:
    """Return (file, package of others) -> whether it is imported with the file.

    Args:
        own: modules of these folders that scripts in them import by their plain names.
    """
    found: dict[tuple[str, str], bool] = {}
    ours = {"genesys_engine", *own, *TRIED, *sys.stdlib_module_names}
    for file in (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))):
        if not {"audit_corpus", "zoo"} & set(file.parts):  # those are blocks under audit
            for package, at_once in imports(ast.parse(file.read_text(encoding="utf-8-sig"))):
                key = str(file.relative_to(ROOT)), package
                if package not in ours:
                    found[key] = found.get(key, False) or at_once
    return found


@pytest.fixture(scope="module")
def shipped() -> dict[tuple[str, str], bool]:
    return imported(SHIPPED)


def test_every_import_is_declared(shipped: dict[tuple[str, str], bool]) -> None:
    own = {path.stem for folder in SCRIPTS for path in (ROOT / folder).rglob("*.py")} | {
        "experiments",
        "tests",
    }
    everything = shipped | imported(SCRIPTS, own)
    assert len({package for _, package in everything}) > 30
    assert [key for key in everything if not distributions_of(key[1]) & DECLARED] == []


def test_what_an_extra_brings_is_imported_where_it_is_used(
    shipped: dict[tuple[str, str], bool],
) -> None:
    at_once = [
        key for key, whole in shipped.items() if whole and not distributions_of(key[1]) & CORE
    ]
    # The command `dashboard` looks for its extra before it imports that room.
    at_once = [key for key in at_once if not key[0].startswith("engine/dashboard/")]
    # Fixtures and contracts for the test suites of plugins, which have pytest.
    assert {package for file, package in at_once if file.startswith("plugins/testing/")} == {
        "pytest"
    }
    assert [file for file, _ in at_once if not file.startswith("plugins/testing/")] == []


def test_every_dependency_is_used(shipped: dict[tuple[str, str], bool]) -> None:
    used = set().union(*(distributions_of(package) for _, package in shipped))
    assert CORE - used == NEVER_IMPORTED
