"""Training that is killed and taken up again: the same curve and weights, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import commands
import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file
from torch import nn
from training_support import CONTEXT, TinyModel

from genesys_engine.engine.evaluate.verifier import keep_training, tidy
from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.plugins.api import TrainBudget, TrialDiverged
from genesys_engine.plugins.checkpoint import load_checkpoint, save_checkpoint
from genesys_engine.plugins.trainers.live_curve import LIVE_CURVE
from genesys_engine.plugins.trainers.losses import Losses
from genesys_engine.plugins.trainers.options import TorchTrainerOptions
from genesys_engine.plugins.trainers.pytorch import TorchTrainer
from genesys_engine.plugins.trainers.session import TRAINING

ROOT = Path(__file__).parents[3]


class Dropping(TinyModel):
    """Draws from the generator at every step and keeps a persistent buffer."""

    def __init__(self, vocab_size, **more):
        super().__init__(vocab_size, **more)
        self.drop = nn.Dropout(0.2)
        self.register_buffer("steps_taken", torch.zeros(()))

    def forward(self, tokens):
        self.steps_taken += 1
        return self.drop(super().forward(tokens))


class Interrupted(BaseException):
    """Stands for a process that ends at once."""


class Dying(Dropping):
    """Ends its process at a step."""

    dies_at = 40

    def forward(self, tokens):
        if self.steps_taken >= self.dies_at:
            raise Interrupted
        return super().forward(tokens)


class Shrinking(Dropping):
    """Has no room for more than two sequences at one step, as beside another process, and ends
    its process some steps later, where it is told to."""

    dies = False

    def forward(self, tokens):
        if self.steps_taken == 10 and len(tokens) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if self.dies and self.steps_taken == 40:
            raise Interrupted
        return super().forward(tokens)


def train(model, corpus, folder, *, tokens=20_000, lr=5e-3, seed=1, **options):
    budget = TrainBudget(tokens=tokens, batch_tokens=4 * CONTEXT, peak_lr=lr, seed=seed)
    trainer = TorchTrainer(TorchTrainerOptions(**{"checkpoint_every_s": 1e-9, **options}))
    return trainer.train(model, corpus, budget, folder / "model.safetensors")


def interrupted(corpus, folder, **more):
    folder.mkdir(exist_ok=True)
    with pytest.raises(Interrupted):
        train(Dying(corpus.vocab_size), corpus, folder, **more)
    assert (folder / TRAINING).is_file()


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """An uninterrupted training without any training checkpoint."""
    folder = tmp_path_factory.mktemp("whole")
    return train(Dropping(corpus.vocab_size), corpus, folder, checkpoint_every_s=0)


def test_a_training_goes_on_as_if_there_had_been_no_break(corpus, whole, tmp_path, monkeypatch):
    monkeypatch.setattr("genesys_engine.plugins.trainers.session.MOST_OF_TIME", 1e9)
    interrupted(corpus, tmp_path)
    result = train(Dropping(corpus.vocab_size, seed=7), corpus, tmp_path)
    assert result.facts["resumed_at_step"] == 40
    assert (result.tokens, result.steps, result.curve) == (whole.tokens, whole.steps, whole.curve)
    assert result.checkpoint.read_bytes() == whole.checkpoint.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_what_was_given_up_for_want_of_memory_stays_given_up(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("genesys_engine.plugins.trainers.session.MOST_OF_TIME", 1e9)
    (tmp_path / "whole").mkdir()
    whole = train(Shrinking(corpus.vocab_size), corpus, tmp_path / "whole")
    assert whole.facts["micro_batch"] == 2
    dying = Shrinking(corpus.vocab_size)
    dying.dies = True
    with pytest.raises(Interrupted):
        train(dying, corpus, tmp_path)
    result = train(Shrinking(corpus.vocab_size), corpus, tmp_path)
    assert result.facts["resumed_at_step"] > 10
    assert result.facts["micro_batch"] == 2
    assert result.curve == whole.curve
    assert result.checkpoint.read_bytes() == whole.checkpoint.read_bytes()


ELSEWHERE = """
import sys
from pathlib import Path
from genesys_engine.gab import lean_torch  # three such processes: without what no training needs
import torch
torch.set_num_threads(1)
from genesys_engine.plugins.trainers import session
from verification_support import verify
import json
session.MOST_OF_TIME = 1e9  # however slow the disk is, some are written
given = json.load(open(sys.argv[1]))
reply = verify(given, Path(sys.argv[2]))
print(json.dumps({**reply, "resumed": reply["facts"]["resumed_at_step"], "facts": None}))
"""


def test_kill_9_in_a_process_of_its_own_costs_nothing(corpus, tmp_path):
    from verification_support import EVALUATORS, payload

    job = payload(corpus, tokens=60_000, checkpoint_every_s=0.02)
    job["evaluators"] = EVALUATORS[:1]
    (tmp_path / "job.json").write_text(json.dumps(job))
    path = f"{ROOT}:{ROOT / 'tests/support'}"
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def start(folder):
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "job.json"), str(folder)]
        return commands.start(command, stdout=subprocess.PIPE, env=environment, text=True)

    alone = start(tmp_path / "alone")
    expected = json.loads(alone.communicate(timeout=200)[0].splitlines()[-1])
    killed = start(tmp_path / "killed")
    state = tmp_path / "killed" / TRAINING
    seen = set()
    while len(seen) < 2:  # in the middle: a checkpoint was replaced by a later one
        assert killed.poll() is None, "it ended before it could be killed"
        with suppress(FileNotFoundError):
            seen.add(state.stat().st_mtime_ns)
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    again = start(tmp_path / "killed")
    answer = json.loads(again.communicate(timeout=200)[0].splitlines()[-1])
    assert answer.pop("resumed") > 0 == expected.pop("resumed")
    assert answer == expected
    weights = [tmp_path / name / "model.safetensors" for name in ("alone", "killed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def rewrite(path, change):
    with safe_open(str(path), "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    change(tensors, metadata)
    save_file(tensors, str(path), metadata)


def flip(tensors, metadata):
    tensors["model.norm.bias"][0] += 1


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-10]), "cannot be read"),
        (lambda path: path.write_bytes(b"nothing of the kind"), "cannot be read"),
        (lambda path: rewrite(path, flip), "damaged"),
    ],
)
def test_a_damaged_training_checkpoint_is_noticed(corpus, whole, tmp_path, harm, word):
    interrupted(corpus, tmp_path)
    harm(tmp_path / TRAINING)
    result = train(Dropping(corpus.vocab_size), corpus, tmp_path, checkpoint_every_s=0)
    assert word in result.facts["training_checkpoint"]
    assert result.facts["resumed_at_step"] == 0
    assert result.curve == whole.curve


@pytest.mark.parametrize(
    "other", [{"seed": 2}, {"lr": 1e-3}, {"tokens": 21_000}, {"grad_clip": 2.0}]
)
def test_a_training_checkpoint_of_another_trial_is_not_used(corpus, tmp_path, other):
    interrupted(corpus, tmp_path)
    result = train(Dropping(corpus.vocab_size), corpus, tmp_path, **other)
    assert result.facts["training_checkpoint"] == "it is of another trial"
    assert result.facts["resumed_at_step"] == 0


def test_a_trial_that_ends_early_leaves_no_training_checkpoint(corpus, tmp_path):
    model = Dropping(corpus.vocab_size)
    with pytest.raises(TrialDiverged):
        train(model, corpus, tmp_path, lr=5.0, optimizer="adamw", explode_factor=1.5, grad_clip=1e9)
    assert [path.name for path in tmp_path.iterdir()] == [LIVE_CURVE]


def test_short_trainings_write_none(corpus, tmp_path):
    model = Dying(corpus.vocab_size)
    with pytest.raises(Interrupted):
        train(model, corpus, tmp_path, checkpoint_every_s=60.0)
    assert not list(tmp_path.iterdir())


def test_a_training_checkpoint_that_reads_back_differently_does_not_count(
    corpus, tmp_path, monkeypatch
):
    import safetensors.torch

    real = safetensors.torch.load_file

    def damaged(path):
        state = real(path)
        state["model.norm.bias"][3] += 1
        return state

    monkeypatch.setattr(safetensors.torch, "load_file", damaged)
    with pytest.raises(EnvironmentProblem, match=r"model\.norm\.bias"):
        train(Dropping(corpus.vocab_size), corpus, tmp_path)
    assert not (tmp_path / TRAINING).exists()


def test_passing_over_batches_gives_the_ones_behind_them(corpus):
    import numpy as np

    count = 2 * (len(corpus.train) // CONTEXT) // 7  # beyond the first epoch
    straight = corpus.batches(3, 7, CONTEXT)
    for _ in range(count):
        next(straight)
    later = corpus.batches(3, 7, CONTEXT, count)
    for _ in range(3):
        one, two = next(straight), next(later)
        assert np.array_equal(one.inputs, two.inputs)
        assert np.array_equal(one.mask, two.mask)


def test_a_checkpoint_of_another_vocabulary_says_so(tmp_path):
    save_checkpoint(TinyModel(300), tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"embedding(.|\n)*tokenizer") as caught:
        load_checkpoint(TinyModel(400), tmp_path / "model.safetensors")
    assert "300" in str(caught.value)
    assert "400" in str(caught.value)


def test_a_scratch_folder_keeps_the_training_checkpoint_alone(tmp_path):
    folder = tmp_path / "scratch"
    for name in ("verify-1", "verify-2", "verify-3", "check-1"):
        (folder / name / "deep").mkdir(parents=True)
        (folder / name / "model.safetensors").write_text("x")
    save_file({"a": torch.zeros(3)}, str(folder / "verify-1" / TRAINING))
    (folder / "verify-2" / TRAINING).write_bytes(b"nothing of the kind")
    (folder / "verify-3" / TRAINING).symlink_to(tmp_path / "elsewhere")
    keep_training(folder / "verify-2", 1 << 20)
    assert not (folder / "verify-2").exists()
    tidy(folder)
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    assert left == ["verify-1", f"verify-1/{TRAINING}"]
    keep_training(folder / "verify-1", 10)  # larger than a file may be
    tidy(folder)
    assert not folder.exists()


def add_all(losses, values):
    for step, value in enumerate(values, 1):
        losses.add(step * 100, torch.tensor(value))
    losses.read()


def test_a_loss_that_stalls_ends_the_trial():
    add_all(Losses(2.0, 1000), [5.0 - step / 100 for step in range(100)])
    stalled = Losses(2.0, 1000)
    with pytest.raises(TrialDiverged, match=r"stalled: 3\.0000 nats per token over the last 1,000"):
        add_all(stalled, [max(3.0, 5.0 - step / 10) for step in range(100)])
    assert 4_000 <= stalled.points[-1][0] < 5_000


def test_a_stalled_training_is_a_failed_trial_with_its_reason(corpus, tmp_path):
    with pytest.raises(TrialDiverged, match="stalled"):
        train(
            Dropping(corpus.vocab_size),
            corpus,
            tmp_path,
            lr=1e-9,
            optimizer="adamw",
            stall_tokens=2_000,
        )
