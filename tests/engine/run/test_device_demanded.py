"""CUDA that is asked for and absent is told before anything is prepared, by every way to train."""

import pytest
import torch

from genesys_engine.engine.cli import main
from genesys_engine.engine.run import lifecycle, plan
from genesys_engine.engine.run.assembly import demand_device, load
from genesys_engine.engine.run.context import Setup
from genesys_engine.engine.store.run_store import Store
from genesys_engine.plugins.registry import Description

EXPERIMENT = """
[population]
seeds = ["gpt"]
[trainer]
device = "cuda"
[[ladder.rungs]]
scale = "0.2M"
verifications = 2
[budget]
designs = 1
"""


@pytest.fixture(autouse=True)
def without_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "experiment.toml"
    path.write_text(EXPERIMENT)
    return path


def nothing(*_):
    pytest.fail("the corpus was prepared")


@pytest.mark.parametrize("command", ["run", "plan", "resume"])
def test_cuda_that_is_absent_is_told_first(command, experiment, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lifecycle, "build_corpus", nothing)
    monkeypatch.setattr(plan, "build_corpus", nothing)
    target = experiment
    if command == "resume":  # of a run that was begun on a machine with CUDA
        target = tmp_path / "run"
        read = load(experiment, ()).experiment
        meta = {"experiment": read.to_json(), "experiment_digest": read.digest, "corpus": None}
        Store.create(target, meta, experiment.read_bytes()).close()
    assert main([command, str(target)]) == 2
    told = capsys.readouterr().err
    assert "[trainer] device: CUDA is asked for, and PyTorch finds no device" in told
    assert 'help: set device = "auto" or "cpu", or install a PyTorch with CUDA' in told
    assert not (tmp_path / "runs").exists()


def test_where_trials_may_run_elsewhere_it_is_not_for_this_machine_to_say(experiment):
    setup = load(experiment, ())
    host, read = setup.host, setup.experiment
    recorded = "genesys_engine.plugins.testing.recorded:RecordedExecutor"
    host.registry.register(Description("executor", "elsewhere", recorded, "", "test", "1"))
    section = read.executor.model_copy(update={"use": "elsewhere", "options": {}})
    demand_device(Setup(host, read.model_copy(update={"executor": section})))
