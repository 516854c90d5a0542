"""Every change of the catalogue can be made, passes the check, and changes the function."""

import pytest
from catalogue_solutions import SOLUTIONS
from exhaustive import exhaustive

from experiments.catalogue.changes import CATALOGUE
from genesys_engine.gab import library
from genesys_engine.gab.compose import compose
from genesys_engine.gab.tree import grow
from genesys_engine.gab.unit import parse_unit
from genesys_engine.operators.llm.faithful import Checks, unfaithful
from genesys_engine.plugins.api import Limits
from genesys_engine.plugins.auditor import judged
from genesys_engine.plugins.executors.process import ProcessExecutor, ProcessOptions

CHECK = "genesys_engine.plugins.check_job:check"


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    preload = ("genesys_engine.gab.lean_torch", "genesys_engine.plugins.check_job")
    executor = ProcessExecutor(ProcessOptions(preload=preload), workers=1)

    def run(tree):
        payload = {"source": compose(tree), "scales": ["0.2M"], "vocab_size": 1024, "seed": 0}
        scratch = tmp_path_factory.mktemp("check")
        outcome = executor.submit(CHECK, payload, scratch, judged(Limits(wall_s=120))).result()
        assert outcome.status == "ok", outcome.reason
        return outcome.value

    yield Checks(run)
    executor.close()


def solved(name, edits):
    """Return (parent, path, tree with the change made) in the first seed that has the unit."""
    for seed in library.seed_names():
        tree = library.seed(seed)
        place = next((each for each in tree.places() if each.node.name == name), None)
        if place is not None:
            break
    source = place.node.unit.source
    for old, new in edits:
        assert old in source, f"{old!r} is not in {name}"
        source = source.replace(old, new, 1)
    children = {slot: tree.subtree(at) for slot, at in tree.children(place.index).items()}
    grown = grow(parse_unit(source), children, **dict(place.node.hyperparameters))
    return tree, place.path, tree.replace(place.index, grown)


def test_every_unit_of_a_seed_has_changes_and_every_change_a_solution():
    units = {node.name for seed in library.seed_names() for node in library.seed(seed)}
    assert set(CATALOGUE) == units == set(SOLUTIONS)
    for name, changes in CATALOGUE.items():
        assert len(changes) == len(SOLUTIONS[name]) >= 3
        assert len({change.text for change in changes}) == len(changes)


@pytest.mark.slow
@pytest.mark.parametrize("name", exhaustive(sorted(CATALOGUE), but=("RMSNorm", "SwiGLUMLP")))
def test_changes_are_valid_and_faithful(name, check):
    for change, edits in zip(CATALOGUE[name], SOLUTIONS[name], strict=True):
        parent, path, tree = solved(name, edits)
        report = check(tree)
        assert report["passed"], (change.text, report["findings"])
        assert unfaithful(tree, parent, [path], check) == (), change.text
