"""`explain`: a design of a real, tiny run is trained without each of its parts, and paired."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_process import engine, here, write_experiment
from sample_run import make_run

from genesys_engine.engine.common.records import to_json
from genesys_engine.engine.report.page import render_report
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views.explanations import explanations
from genesys_engine.gab import library
from genesys_engine.gab.tree import GABTree, grow

MORE = """
[[operators]]
use = "hyperparameter_mutation"
max_changes = 1
"""


def two_changes() -> GABTree:
    """Return gpt with another norm before the mixer and another MLP: two parts."""
    tree, places = library.seed("gpt"), {}
    for path, new in (("root.norm_1", "layer_norm"), ("root.mlp", "geglu_mlp")):
        places = {place.path: place.index for place in tree.places()}
        tree = tree.replace(places[path], grow(library.unit(new)))
    return tree


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from gpt and a design of a user's own, with one child and a cache of its own."""
    folder = tmp_path_factory.mktemp("explained")
    (folder / "mine.json").write_text(json.dumps(two_changes().to_json()))
    path = write_experiment(folder, verifications=3, designs=1, lookahead=2, more=MORE)
    text = path.read_text().replace('seeds = ["gpt"]', 'seeds = ["gpt", "mine.json"]')
    path.write_text(text)
    done = engine("run", path, "--out", folder / "run")
    assert done.code == 0, done.err
    return folder / "run"


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setenv("GENESYS_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


def data(out: str) -> dict[str, Any]:
    told = json.loads(out)
    assert told["schema"] == 1
    found: dict[str, Any] = told["data"]
    return found


def test_without_yes_the_parts_and_the_cost_are_shown_and_nothing_is_trained(run: Path) -> None:
    plan = data(here("explain", run, 1, "--base", "gpt", "--seeds", 3, "--json").out)
    assert [part["path"] for part in plan["parts"]] == ["root.norm_1", "root.mlp"]
    assert plan["trainings"] == 3 * 4, "the design, gpt, and the design without each part"
    assert 0 < plan["seconds"] < 600
    shown = here("explain", run, 1, "--base", "gpt")
    assert shown.code == 0
    assert "--yes" in shown.out
    assert "root.mlp" in shown.out
    with Store.open(run) as store:
        assert explanations(store) == []


def test_the_parts_are_trained_with_paired_seeds_and_kept(run: Path) -> None:
    done = engine("explain", run, 1, "--base", "gpt", "--seeds", 2, "--yes", "--json")
    assert done.code == 0, done.err
    found = data(done.out)
    assert found["base"] == "gpt"
    assert found["seeds"] == 2
    assert {part["path"] for part in found["parts"]} == {"root.norm_1", "root.mlp"}
    for share in (found["whole"], *found["parts"]):
        assert share["problem"] == ""
        assert len(share["gains"]) == 2
        assert share["gain"]["mean"] == pytest.approx(statistics.fmean(share["gains"]))
        assert share["gain"]["low"] < share["gain"]["mean"] < share["gain"]["high"]
        assert share["parameters"] > 10_000
    means = [part["gain"]["mean"] for part in found["parts"]]
    assert means == sorted(means, reverse=True)
    with Store.open(run) as store:
        (kept,) = explanations(store)
        assert json.loads(json.dumps(to_json(kept))) == found
        page = render_report(store)
    assert "root.norm_1" in page
    assert "What each part gives" in page


def test_the_same_again_trains_nothing_and_more_seeds_train_only_these(run: Path) -> None:
    first = engine("explain", run, 1, "--base", "gpt", "--seeds", 2, "--yes", "--json")
    more = engine("explain", run, 1, "--base", "gpt", "--seeds", 3, "--yes", "--json")
    assert (first.code, more.code) == (0, 0), more.err
    before, after = data(first.out), data(more.out)
    assert after["values"][:2] == before["values"]
    assert after["whole"]["gains"][:2] == pytest.approx(before["whole"]["gains"])
    trained = [line for line in more.err.splitlines() if line.startswith("seed ")]
    assert not [line for line in first.err.splitlines() if line.startswith("seed ")]
    assert len(trained) == 4
    assert all(line.startswith("seed 3 of 3") for line in trained)
    table = engine("explain", run, 1, "--base", "gpt", "--seeds", 3, "--yes")
    assert "root.mlp" in table.out


def test_a_child_is_compared_with_the_seed_that_it_descends_from(run: Path) -> None:
    with Store.open(run) as store:
        child = next(row for row in store.designs() if row.parents)
    plan = data(here("explain", run, child.id, "--json").out)
    assert plan["base"] == child.parents[0]
    assert len(plan["parts"]) == 1
    assert plan["trainings"] == 2 * plan["seeds"], "without its only part it is the seed itself"


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["99"], ["99"]),
        (["gtp"], ["gtp", "gpt"]),
        (["gpt"], ["gpt is a seed"]),
        (["1", "--base", "1"], ["the same"]),
        (["1", "--base", "gpt", "--rung", "1M"], ["1M", "0.2M"]),
        (["1", "--base", "nobody"], ["nobody"]),
    ],
)
def test_what_cannot_be_explained_is_refused(run: Path, words: list[str], texts: list[str]) -> None:
    here("explain", run, *words, "--yes").refused(2, *texts)


def test_a_design_that_was_not_verified_and_a_folder_without_run_are_refused(
    tmp_path: Path,
) -> None:
    here("explain", tmp_path, "1").refused(2, "no run here")
    recorded = make_run(tmp_path / "recorded")
    with Store.open(recorded) as store:
        rejected = next(row.id for row in store.designs() if not row.accepted)
    here("explain", recorded, rejected, "--base", "gpt").refused(2, "was not verified", "rejected")


def test_a_design_without_parents_wants_a_base(tmp_path: Path) -> None:
    recorded = make_run(tmp_path / "recorded")
    with Store.open(recorded, write=True) as store, store.transaction():
        row = next(row for row in store.designs() if row.parents and row.rung is not None)
        new = replace(row, id=900, digest="9" * 64, parents=(), operator="seed_design")
        store.add_design(new, store.tree(row.id), store.report(row.id))
        known = next(iter(store.verifications(row.id)))
        store.add_verification(replace(known, id=900, seq=900, design=900), [(1.0, 4.0)])
    here("explain", recorded, 900).refused(2, "has no parents", "--base gpt")
    assert here("explain", recorded, 900, "--base", "ttt").code == 0
