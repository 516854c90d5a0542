"""Too little memory, blocks that are compiled or not, devices that are absent."""

import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import commands
import pytest
import torch
from torch import nn
from training_support import BLOCK, CONTEXT, TinyModel

from genesys_engine.gab.compose import load_block
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.model import LanguageModel
from genesys_engine.gab.scales import ModelConfig
from genesys_engine.plugins.api import TrainBudget, TrialDiverged
from genesys_engine.plugins.sandbox import SandboxHost
from genesys_engine.plugins.trainers import pace
from genesys_engine.plugins.trainers.options import TorchTrainerOptions
from genesys_engine.plugins.trainers.pytorch import TorchTrainer
from genesys_engine.plugins.trainers.stepping import IN_CACHE

ROOT = Path(__file__).parents[3]
SUPPORT = ROOT / "tests/support"


def language_model(corpus, source=BLOCK):
    config = ModelConfig(d_model=32, n_blocks=2, vocab_size=corpus.vocab_size, context=CONTEXT)
    return LanguageModel(load_block(source), config, seed=3)


def train(model, corpus, folder, *, tokens=3_000, rows=4, **options):
    folder.mkdir(exist_ok=True)
    budget = TrainBudget(tokens=tokens, batch_tokens=rows * CONTEXT, peak_lr=5e-3, seed=1)
    trainer = TorchTrainer(TorchTrainerOptions(**options))
    return trainer.train(model, corpus, budget, folder / "model.safetensors")


class Fits(TinyModel):
    """Refuses more sequences than `most`, as an allocator would, after drawing at random."""

    most = 1

    def forward(self, tokens):
        dropped = nn.functional.dropout(super().forward(tokens), 0.1)
        if len(tokens) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return dropped


def test_what_does_not_fit_is_cut_and_the_effective_batch_stays(corpus, tmp_path):
    model = Fits(corpus.vocab_size)
    result = train(model, corpus, tmp_path / "a", rows=7)
    assert result.facts["micro_batch"] == 1
    asked = Fits(corpus.vocab_size)
    same = train(asked, corpus, tmp_path / "b", rows=7, micro_batch=1)
    assert (result.tokens, result.steps, result.curve) == (same.tokens, same.steps, same.curve)
    assert result.checkpoint.read_bytes() == same.checkpoint.read_bytes()


@pytest.mark.parametrize("rows", [3, 40])
def test_a_processor_gets_what_its_cache_holds(corpus, tmp_path, rows):
    model = Fits(corpus.vocab_size)
    model.most = min(rows, IN_CACHE // CONTEXT)
    result = train(model, corpus, tmp_path, rows=rows)
    assert result.facts["micro_batch"] == model.most


def test_out_of_memory_at_one_sequence_says_so(corpus, tmp_path):
    model = Fits(corpus.vocab_size)
    model.most = 0
    with pytest.raises(MemoryError, match=f"micro-batch of one sequence of {CONTEXT} tokens"):
        train(model, corpus, tmp_path)


LIMITED = """
import json, resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[3])
from training_support import TinyModel
from genesys_engine.plugins.api import TrainBudget
from genesys_engine.plugins.corpus import Corpus
from genesys_engine.plugins.trainers.options import TorchTrainerOptions
from genesys_engine.plugins.trainers.pytorch import TorchTrainer
corpus = Corpus.open(sys.argv[1])
model = TinyModel(corpus.vocab_size)
torch.nn.functional.cross_entropy(model(torch.zeros(1, 64, dtype=torch.int64))[0],
                                  torch.zeros(64, dtype=torch.int64)).backward()
model.zero_grad()
pages = int(Path("/proc/self/statm").read_text().split()[0])
most = pages * resource.getpagesize() + (120 << 20)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
trainer = TorchTrainer(TorchTrainerOptions(micro_batch=320))
budget = TrainBudget(tokens=40_000, batch_tokens=20_480, peak_lr=5e-3, seed=1)
result = trainer.train(model, corpus, budget, Path(sys.argv[2]) / "model.safetensors")
print(json.dumps({"micro": result.facts["micro_batch"], "steps": result.steps,
                  "tokens": result.tokens, "last": result.curve[-1][1]}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS")
def test_a_real_limit_of_memory_shrinks_the_micro_batch(corpus, tmp_path):
    """A batch of 320 sequences needs 40 MB for its logits alone, several times over."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        # The limit is one of addresses: an arena a thread takes 64 MB of them, and a threshold
        # that grows keeps what was freed.  Either left none for the checkpoint, now and then.
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": "131072",
    }
    done = commands.run(
        [sys.executable, "-c", LIMITED, *map(str, (corpus.folder, tmp_path, SUPPORT))],
        env=environment,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    limited = json.loads(done.stdout.splitlines()[-1])
    assert 1 <= limited["micro"] < 320
    free = train(TinyModel(corpus.vocab_size), corpus, tmp_path, tokens=40_000, rows=320)
    assert (free.steps, free.tokens) == (limited["steps"], limited["tokens"])
    assert free.facts["micro_batch"] == IN_CACHE // CONTEXT
    assert limited["last"] == pytest.approx(free.curve[-1][1], rel=1e-4)


def test_a_design_that_does_not_fit_fails_and_the_next_one_runs(corpus, tmp_path):
    from verification_support import PRELOAD, payload, trained_in

    greedy = BLOCK.replace("return X +", "torch.empty(1 << 33); return X +")
    host = SandboxHost(workers=1, preload=PRELOAD)
    try:
        outcomes = []
        for name, source in (("greedy", greedy), ("plain", BLOCK)):
            (tmp_path / name).mkdir()
            job = payload(corpus, source=source, tokens=2_000)
            job["evaluators"] = job["evaluators"][:1]
            outcomes.append(trained_in(host, job, corpus, tmp_path / name, wall_s=200))
    finally:
        host.close()
    assert outcomes[0].status == "memory"
    assert outcomes[1].status == "ok", outcomes[1].reason


# --- activations computed again ------------------------------------------------------------------


def test_activation_checkpointing_changes_nothing(corpus, tmp_path):
    source = BLOCK.replace("torch.relu(", "nn.functional.dropout(nn.functional.relu(").replace(
        ".transpose(1, 2)))), Z", ".transpose(1, 2))), 0.1, self.training)), Z"
    )
    results = {}
    for choice in ("never", "always"):
        model = language_model(corpus, source)
        results[choice] = train(model, corpus, tmp_path / choice, activation_checkpointing=choice)
        assert all("forward" not in block.__dict__ for block in model.blocks)
    assert results["always"].facts["activation_checkpointing"] == "yes"
    assert results["always"].curve == results["never"].curve
    weights = [results[choice].checkpoint.read_bytes() for choice in results]
    assert weights[0] == weights[1]


def test_activations_are_given_up_when_one_sequence_does_not_fit(corpus, tmp_path, monkeypatch):
    """A model that fits only once its blocks keep no activations."""
    model = language_model(corpus)
    forward = LanguageModel.forward

    def refuse(self, tokens):
        if "forward" not in self.blocks[0].__dict__:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, tokens)

    monkeypatch.setattr(LanguageModel, "forward", refuse)
    result = train(model, corpus, tmp_path)
    assert result.facts["activation_checkpointing"] == "yes"
    assert result.facts["micro_batch"] == 1
    with pytest.raises(MemoryError):
        train(language_model(corpus), corpus, tmp_path, activation_checkpointing="never")


# --- the compiler --------------------------------------------------------------------------------


def test_a_compiled_training_is_the_same(corpus, tmp_path):
    plain = train(language_model(corpus), corpus, tmp_path / "a")
    compiled = train(
        language_model(corpus), corpus, tmp_path / "b", compile="always", compile_backend="eager"
    )
    assert plain.facts["compiled"] == "no"  # auto, on a CPU
    assert compiled.facts["compiled"] == "yes"
    assert compiled.curve == plain.curve
    assert compiled.checkpoint.read_bytes() == plain.checkpoint.read_bytes()


def test_what_cannot_be_compiled_is_trained_as_it_is(corpus, tmp_path):
    from torch._dynamo import register_backend, reset

    @register_backend
    def refuses(graph, inputs):
        raise NotImplementedError("no code for this block")

    plain = train(language_model(corpus), corpus, tmp_path / "a")
    reset()
    fallen = train(
        language_model(corpus), corpus, tmp_path / "b", compile="always", compile_backend="refuses"
    )
    assert fallen.facts["compiled"].startswith("no: ")
    assert "no code for this block" in fallen.facts["compiled"]
    assert fallen.curve == plain.curve


def test_a_fault_of_the_block_is_not_taken_for_one_of_the_compiler(corpus, tmp_path):
    source = BLOCK.replace("return X +", "raise ValueError('mine'); return X +")
    with pytest.raises(ValueError, match="mine"):
        train(
            language_model(corpus, source), corpus, tmp_path, compile="always",
            compile_backend="eager",
        )  # fmt: skip


# --- the device, and the pace --------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_asked_for_and_absent_is_one_clear_message(corpus, tmp_path):
    with pytest.raises(InputError, match="CUDA is asked for") as caught:
        train(TinyModel(corpus.vocab_size), corpus, tmp_path, device="cuda")
    assert "[trainer] device" in str(caught.value)


def test_a_trial_that_is_too_slow_ends_with_its_reason(corpus, tmp_path, monkeypatch):
    slow = BLOCK.replace("return X +", "[torch.ones(512, 512) @ torch.ones(512, 512)\n"
                         "         for _ in range(40)]\n        return X +")  # fmt: skip
    with pytest.raises(TrialDiverged, match=r"too slow: 0\.\d+ of the speed of the seed gpt"):
        train(language_model(corpus, slow), corpus, tmp_path, tokens=20_000, slowest_ratio=0.5)
    plain = train(language_model(corpus), corpus, tmp_path / "a", tokens=6_000)
    monkeypatch.setattr(pace, "MEASURED", 2)
    paced = train(language_model(corpus), corpus, tmp_path / "b", tokens=6_000, slowest_ratio=0.001)
    assert paced.curve == plain.curve


def test_the_reference_of_the_pace_takes_its_steps_as_the_trial_does(corpus, tmp_path, monkeypatch):
    """No more sequences at once than the trial had room for; compiled where it is."""
    compiled, most = [], []
    forward, compile_ = LanguageModel.forward, torch.compile

    def refuse(self, tokens):
        if len(tokens) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        most.append(len(tokens))
        return forward(self, tokens)

    def note(model, **more):
        compiled.append(model)
        return compile_(model, **more)

    monkeypatch.setattr(LanguageModel, "forward", refuse)
    monkeypatch.setattr(torch, "compile", note)
    options = {"compile": "always", "compile_backend": "eager", "slowest_ratio": 0.001}
    result = train(language_model(corpus), corpus, tmp_path, tokens=6_000, **options)
    assert result.facts["micro_batch"] == max(most) == 2
    assert len(compiled) == 2


def test_a_reference_that_finds_no_room_ends_no_trial(corpus, tmp_path, monkeypatch):
    def refuse(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(pace.Pace, "_reference", refuse)
    result = train(language_model(corpus), corpus, tmp_path, tokens=6_000, slowest_ratio=0.9)
    assert result.tokens >= 6_000


@pytest.mark.parametrize(("other", "ends"), [(0.7, False), (0.1, True)])
def test_the_processes_of_a_team_judge_the_pace_together(monkeypatch, other, ends):
    team = SimpleNamespace(size=2, total=lambda ratio: ratio + other)
    options = TorchTrainerOptions(slowest_ratio=0.3)
    judge = pace.Pace(None, None, None, options, torch.device("cpu"), team)
    clock = iter([0.0, 10.0])
    monkeypatch.setattr(judge, "_now", lambda: next(clock))
    monkeypatch.setattr(judge, "_reference", lambda batch: 1.0)  # a tenth, here
    with pytest.raises(TrialDiverged, match=r"0\.100") if ends else nullcontext():
        for _ in range(pace.WARM_UP + pace.MEASURED):
            judge.check(None)
