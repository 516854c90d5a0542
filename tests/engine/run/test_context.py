"""What the parts of a run are made from: made once, and the same for all of them."""

import json

import pytest
from engine_process import write_experiment

from genesys_engine.engine.common.records import from_json, to_json
from genesys_engine.engine.corpus.prepared import PreparedCorpus
from genesys_engine.engine.run.assembly import load
from genesys_engine.engine.run.context import check_settings

CORPUS = PreparedCorpus("corpus", 512, tasks={json.dumps(["task"]): "/data/of/task"})
EVALUATORS = """
[[evaluators]]
use = "lm_eval"
tasks = ["arc_easy"]
rungs = ["1M"]
[[ladder.rungs]]
scale = "1M"
verifications = 2
"""


@pytest.fixture
def setup(tmp_path):
    return load(write_experiment(tmp_path), ())


def test_each_thing_is_made_once_and_shared(setup):
    context = setup.on(CORPUS)
    assert context.verify is context.verify
    assert context.verify.rungs is context.rungs
    assert context.verify.evaluators is context.evaluators
    assert context.measure is context.measure
    assert context.check.scales == tuple(rung.scale for rung in context.rungs)
    assert context.check == check_settings(setup, CORPUS.vocab_size)


def test_a_trainer_goes_to_workers_without_its_name_and_evaluators_with_theirs(setup):
    """As their jobs have always been: a cache knows them by their bytes."""
    context = setup.on(CORPUS)
    assert to_json(context.verify.trainer).keys() == {"target", "options"}
    specs = [to_json(spec) for specs in context.evaluators.values() for spec in specs]
    assert all(spec.keys() == {"target", "options", "name"} for spec in specs)


def test_an_evaluator_is_asked_at_its_rungs_and_gets_its_tasks_data(tmp_path):
    data = {json.dumps(["arc_easy"]): "/data/of/arc"}
    setup = load(write_experiment(tmp_path, more=EVALUATORS), ())
    evaluators = setup.on(PreparedCorpus("corpus", 512, tasks=data)).evaluators
    asked = {scale: [spec.name for spec in specs] for scale, specs in evaluators.items()}
    assert asked == {"0.2M": ["heldout"], "1M": ["heldout", "lm_eval"]}
    (lm_eval,) = (spec for spec in evaluators["1M"] if spec.name == "lm_eval")
    assert lm_eval.options["data"] == "/data/of/arc"


@pytest.mark.parametrize("left_out", ["tasks", "digest", None])
def test_what_is_recorded_of_a_corpus_is_read_again(left_out):
    """An earlier version did not record all of it."""
    data = {name: value for name, value in to_json(CORPUS).items() if name != left_out}
    read = from_json(PreparedCorpus, data)
    assert (read.folder, read.vocab_size) == ("corpus", 512)
    assert to_json(read).keys() == to_json(CORPUS).keys()
