"""Workers import what an experiment uses, and nothing else."""

import pytest

from genesys_engine.engine.run.assembly import load
from genesys_engine.engine.run.preload import executor_options
from genesys_engine.gab.errors import PluginError
from genesys_engine.plugins.evaluators.lm_eval import LmEvalEvaluator
from genesys_engine.plugins.executors.options import preloaded_with
from genesys_engine.plugins.trainers.hf import HfTrainer

HELDOUT = '[[evaluators]]\nuse = "heldout"\n'
LM_EVAL = '[[evaluators]]\nuse = "lm_eval"\n'
RUNGS = "".join(
    f'[[ladder.rungs]]\nscale = "{scale}"\nverifications = {count}\n'
    for scale, count in (("0.2M", 9), ("1M", 2))
)


@pytest.fixture
def preload(tmp_path):
    def of(text):
        file = tmp_path / "experiment.toml"
        file.write_text(text)
        return executor_options(load(file, ())).get("preload")

    return of


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("", LmEvalEvaluator.preload),
        (HELDOUT, ()),
        (HELDOUT + LM_EVAL, LmEvalEvaluator.preload),
        (RUNGS + HELDOUT + LM_EVAL + 'rungs = ["0.2M"]\n', LmEvalEvaluator.preload),
        (RUNGS + HELDOUT + LM_EVAL + 'rungs = ["1M"]\n', ()),
        (HELDOUT + '[trainer]\nuse = "hf"\n', HfTrainer.preload),
    ],
)
def test_what_the_lowest_rung_uses_is_imported_once(preload, text, more):
    found = preload(text)
    assert found == list(preloaded_with(more))
    assert set(more) <= set(found)
    # Before PyTorch is whole it must be made lean, and what notes its state comes last.
    assert found[0] == "genesys_engine.gab.lean_torch"
    assert found[-1] == "genesys_engine.plugins.auditor.served"


def test_a_list_of_the_user_is_left_as_it_is(preload):
    assert preload('[executor]\npreload = ["json"]\n') == ["json"]
    assert preload("[executor]\npreload = []\n") == []


@pytest.mark.parametrize("found", ["datasets", ("datasets", 3), 7])
def test_a_plugin_that_names_no_modules_is_named(tmp_path, monkeypatch, found):
    file = tmp_path / "experiment.toml"
    file.write_text(HELDOUT + LM_EVAL)
    setup = load(file, ())
    monkeypatch.setattr(LmEvalEvaluator, "preload", found)
    with pytest.raises(PluginError, match=r"'lm_eval' of genesys-engine .*`preload`"):
        executor_options(setup)
