"""The process executor: the plugin's options, and real jobs through it."""

import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from genesys_engine.plugins.api import Limits
from genesys_engine.plugins.auditor import judged
from genesys_engine.plugins.executors.process import ProcessExecutor, ProcessOptions
from genesys_engine.plugins.targets import build

JOBS = Path(__file__).parents[1] / "sandbox"
if str(JOBS) not in sys.path:
    sys.path.insert(0, str(JOBS))  # the template searches where we do: it must find the jobs

GPT = """
import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc=(0, 1), device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.norm1, self.norm2 = nn.RMSNorm(embed_dim, **kw), nn.RMSNorm(embed_dim, **kw)
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=False, **kw)
        self.out = nn.Linear(embed_dim, embed_dim, bias=False, **kw)
        self.up = nn.Linear(embed_dim, 4 * embed_dim, **kw)
        self.down = nn.Linear(4 * embed_dim, embed_dim, **kw)

    def forward(self, X, **Z):
        q, k, v = self.qkv(self.norm1(X))[:, None].chunk(3, -1)
        X = X + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=CAUSAL)[:, 0])
        return X + self.down(F.gelu(self.up(self.norm2(X)))), Z
"""
CHECK = "genesys_engine.plugins.check_job:check"


@pytest.fixture(scope="module")
def executor():
    executor = build(
        "genesys_engine.plugins.executors.process:ProcessExecutor", {"guard_s": 3}, workers=2
    )
    yield executor
    executor.close()


def payload(source, **more):
    return {"source": source, "vocab_size": 512, "seed": 0, "scales": ["0.2M"], **more}


def test_everything_preloaded_leaves_the_template_one_thread(executor, tmp_path):
    value = executor.submit("sandbox_jobs:data_set", {}, tmp_path, Limits()).result(120).value
    assert value["rows"] == [1, 2]
    threads = list(Path(f"/proc/{executor._host.template_pid}/task").iterdir())
    assert len(threads) == 1
    assert value["cache"].startswith(str(tmp_path))


def test_options_are_strict():
    assert ProcessExecutor.Options is ProcessOptions
    with pytest.raises(ValidationError):
        ProcessOptions(max_restarts=-1)
    with pytest.raises(ValidationError):
        ProcessOptions(preloaded=[])


def test_checks_run_in_isolation(executor, tmp_path):
    sources = [GPT.replace("CAUSAL", word) for word in ("True", "False")]
    jobs = [
        executor.submit(CHECK, payload(source), tmp_path / str(i), judged(Limits(wall_s=60)))
        for i, source in enumerate(sources)
    ]
    good, leaky = (job.result(120) for job in jobs)
    assert (good.status, leaky.status) == ("ok", "ok")
    assert good.value["passed"]
    assert [found["code"] for found in leaky.value["findings"]] == ["causality.leak"]


def test_equal_payloads_give_equal_replies_in_other_processes(executor, tmp_path):
    job = payload(GPT.replace("CAUSAL", "True"))
    jobs = [executor.submit(CHECK, job, tmp_path / str(i), judged(Limits())) for i in range(3)]
    values = [job.result(120).value for job in jobs]
    assert values[0] == values[1] == values[2]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ("while True: pass", "timeout", "in forward"),
        ("torch.zeros(1 << 33)", "memory", "allocate"),
    ],
)
def test_a_block_that_misbehaves_harms_only_itself(executor, tmp_path, body, status, reason):
    source = GPT.replace("        q, k, v", f"        {body}\n        q, k, v", 1)
    source = source.replace("CAUSAL", "True")
    limits = Limits(wall_s=2 if status == "timeout" else 60)
    outcome = executor.submit(CHECK, payload(source), tmp_path / "bad", judged(limits)).result(60)
    assert outcome.status == status
    assert reason in outcome.reason
    good = executor.submit("sandbox_jobs:empty", {}, tmp_path / "good", Limits()).result(60)
    assert good.status == "ok"


@pytest.mark.parametrize(
    "body",
    [
        "import os; os._exit(0)",
        "import ctypes; ctypes.string_at(0)",
        "import os; os.write(3, b'{}' * 10); os._exit(0)",
        "import time; time.sleep(600)",
    ],
)
def test_a_block_that_reaches_for_the_system_is_not_run(executor, tmp_path, body):
    source = GPT.replace("        q, k, v", f"        {body}\n        q, k, v", 1)
    source = source.replace("CAUSAL", "True")
    outcome = executor.submit(CHECK, payload(source), tmp_path, judged(Limits(wall_s=60))).result(
        60
    )
    assert outcome.status == "ok"
    assert not outcome.value["passed"]
    assert outcome.value["findings"][0]["severity"] == "error"


def test_a_payload_of_another_form_is_an_error(executor, tmp_path):
    outcome = executor.submit(CHECK, {"source": ""}, tmp_path, judged(Limits())).result(60)
    assert outcome.status == "error"
    assert "KeyError" in outcome.reason
    unknown = payload("", scales=["7M"])
    outcome = executor.submit(CHECK, unknown, tmp_path, judged(Limits())).result(60)
    assert outcome.status == "error"
    assert "7M" in outcome.reason
