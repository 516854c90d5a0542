"""Who gets the compile profile: the training of a design that passed its check, and nobody else."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from genesys_engine.engine.cli.doctor import _compile_profile
from genesys_engine.engine.corpus.prepared import PreparedCorpus
from genesys_engine.engine.evaluate.verification import TRAIN
from genesys_engine.engine.evaluate.verifier import RungSettings, Verifier, VerifySettings
from genesys_engine.engine.jobs.worker_jobs import ComponentSpec, Trial
from genesys_engine.engine.report.sections import _isolation
from genesys_engine.engine.run import settings as engine_settings
from genesys_engine.engine.run.assembly import assemble, demand_isolation, load
from genesys_engine.engine.run.controls import bigram_scores
from genesys_engine.engine.run.lifecycle import run_started
from genesys_engine.engine.run.settings import asks_to_compile, training_limits
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.train.placement import Trials
from genesys_engine.gab.scales import ModelConfig
from genesys_engine.plugins.api import Limits
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.sandbox import toolchain
from genesys_engine.plugins.testing.recorded import RecordedExecutor

CORPUS = PreparedCorpus(".", 1024)
EXPERIMENT = """
[run]
seed = 1
[population]
seeds = ["gpt", "retnet"]
[trainer]
use = "{trainer}"
device = "{device}"
{compile}
[ladder]
finalists = 1
finalist_seeds = 2
[[ladder.rungs]]
scale = "0.2M"
verifications = 8
noise_seeds = 3
[budget]
designs = 5
"""


class Noting(RecordedExecutor):
    """Keeps what every job was allowed."""

    def __init__(self, **options):
        super().__init__(**options)
        self.jobs = []

    def submit(self, target, payload, scratch, limits):
        self.jobs.append((target, limits))
        return super().submit(target, payload, scratch, limits)


@pytest.fixture
def experiment(tmp_path):
    def experiment(choice="always", *, device="cpu", trainer="torch"):
        path = tmp_path / "experiment.toml"
        line = f'compile = "{choice}"' if trainer == "torch" else ""
        path.write_text(EXPERIMENT.format(compile=line, device=device, trainer=trainer))
        return load(path, ())

    return experiment


@pytest.mark.parametrize(
    ("choice", "device", "devices", "asks"),
    [
        ("always", "cpu", [], True),
        ("auto", "cpu", ["/dev/nvidia0"], False),
        ("auto", "auto", [], False),
        ("auto", "auto", ["/dev/nvidia0"], True),
        ("never", "auto", ["/dev/nvidia0"], False),
    ],
)
def test_the_trainer_asks(experiment, monkeypatch, choice, device, devices, asks):
    monkeypatch.setattr(engine_settings, "accelerator_devices", lambda: devices)
    setup = experiment(choice, device=device)
    assert asks_to_compile(setup.experiment) is asks
    found = setup.on(CORPUS).verify
    assert found.limits_for(passed=True).compiles is asks
    assert not found.limits_for(passed=False).compiles
    assert not found.limits.compiles
    assert not training_limits(setup.experiment, CORPUS).compiles


def test_a_trainer_that_knows_no_compiler_does_not_ask(experiment):
    assert not asks_to_compile(experiment(trainer="hf").experiment)


@pytest.mark.parametrize("passed", [True, False])
def test_only_a_design_that_passed_compiles(tmp_path, passed):
    rung = RungSettings("0.2M", 64, 1000, 100, 1e-3)
    settings = VerifySettings(
        0,
        Path("none"),
        (rung,),
        ComponentSpec("x", {}),
        {"0.2M": ()},
        Limits(7),
        Limits(7),
        compiles=True,
    )
    executor = Noting(workers=0, fail=0)
    trials = Trials(PluginHost(), executor, "process", lambda *_: nullcontext())
    verifier = Verifier(trials, settings, tmp_path)
    job, trial = verifier.job("x", ModelConfig(16, 1, 512, 64), 0, 0), Trial(0, "", 0, "0.2M", 0)
    verifier.start(0, job, None, trial, passed=passed).result()
    verifier.start(1, job, None, trial).result()  # nothing said
    compiling = [limits.compiles for _, limits in executor.jobs]
    assert compiling == [passed, False, False, False], "an evaluation never compiles"
    assert {limits.wall_s for _, limits in executor.jobs} == {7}


@pytest.mark.parametrize("choice", ["always", "never"])
def test_in_a_run_it_is_open_to_trainings_alone(experiment, tmp_path, choice):
    context = experiment(choice).on(CORPUS)
    executor = Noting(workers=0)
    meta = {"experiment": context.experiment.to_json()}
    with Store.create(tmp_path / "run", meta) as store:
        store.curves.allocate(30)
        with store.transaction():
            store.add_event(run_started(context))
        bigram = bigram_scores(store, context, executor)
        told = (lambda event: None, lambda: None)
        evolution = assemble(store, context, executor, bigram, *told)
        try:
            evolution.run()
        finally:
            evolution.designer.close()
            executor.close()
    kinds = {target.rpartition(":")[2] for target, _ in executor.jobs}
    assert {"check", "train", "evaluate", "controls"} <= kinds
    for target, limits in executor.jobs:
        assert limits.compiles is (choice == "always" and target == TRAIN), target


def test_it_is_told(experiment, monkeypatch):
    monkeypatch.setattr(toolchain, "programs", lambda: ("/usr/bin/g++",))
    told = demand_isolation(experiment())
    assert told["compiles"] is True
    assert _isolation(told) == f"{told['level']}; the compile profile is open to trainings"
    assert demand_isolation(experiment("never"))["compiles"] is False
    assert _isolation({"level": "strict"}) == "strict"
    monkeypatch.setattr(toolchain, "programs", tuple)
    assert demand_isolation(experiment())["compiles"] is False
    assert "no g++" in _compile_profile(()).found
    assert "1 programs" not in _compile_profile(("/usr/bin/g++", "/usr/bin/as")).found
