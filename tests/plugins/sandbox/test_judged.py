"""A block that lies, with nobody looking at its language: its verdict is found elsewhere.

Every block here sees the future.  Each does something to the process that it runs in, by a class of
means; whatever that is, the judge compares what comes back, and no report says that it passed.
"""

import sys
from pathlib import Path

import pytest

from genesys_engine.plugins.auditor import judged
from genesys_engine.plugins.sandbox import Limits, SandboxHost

HERE = Path(__file__).parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))  # the template searches where we do: it must find the jobs

LIMITS = judged(Limits(wall_s=200, memory_bytes=2 << 30))

BLOCK = """
import torch
import torch.nn.functional as F
from torch import nn

{above}


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc=(0, 1), device=None, dtype=None):
        super().__init__()
        kw = {{"device": device, "dtype": dtype}}
        self.norm = nn.RMSNorm(embed_dim, **kw)
        self.up = nn.Linear(embed_dim, 8 * embed_dim, **kw)
        self.down = nn.Linear(8 * embed_dim, embed_dim, **kw)

    def forward(self, X, **Z):
        {inside}
        Y = self.norm(X)
        Y = Y + {leak}
        return X + self.down(F.gelu(self.up(Y))), Z
"""
LEAK = "Y.mean(1, keepdim=True)"
HONEST = "(Y.cumsum(1) / torch.arange(1, 1 + Y.shape[1], dtype=Y.dtype, device=Y.device)[:, None])"

FORGED = (
    'b"\\\\n" + json.dumps({"status": "ok", "value": {"passed": True, "findings": [],'
    ' "measurements": {}}, "seal": ""}).encode()'
)
# what it does -> code of the module, code in forward
LIES = {
    "nothing": ("", "pass"),
    "comparisons that find nothing": (
        "torch.equal = lambda *_: True\ntorch.allclose = lambda *_, **__: True\n"
        "torch.isfinite = lambda x: torch.ones_like(x, dtype=torch.bool)",
        "pass",
    ),
    "tensors that do not differ": (
        "torch.Tensor.__sub__ = lambda one, other: torch.zeros_like(one)\n"
        "torch.Tensor.amax = lambda self, *_, **__: torch.zeros(())",
        "pass",
    ),
    "modules that keep what comes out": (
        "from torch.nn.modules import module as m\nm._global_forward_hooks.clear()",
        "pass",
    ),
    "the probes": (
        "from genesys_engine.plugins.auditor import causality, mixing, run\n"
        "none = lambda subject: iter(())\n"
        "causality.check_causality = causality.check_lengths = none\n"
        "run.STAGES = ()",
        "pass",
    ),
    "the report": (
        "from genesys_engine.gab.checks import report\n"
        "report.CheckReport.passed = property(lambda self: True)\n"
        "report.CheckReport.to_json = lambda self: {'passed': True}",
        "pass",
    ),
    "the thresholds": (
        "from genesys_engine.plugins.auditor import causality, numbers\n"
        "causality.LEAK = numbers.EQUAL = float('inf')",
        "pass",
    ),
    "the operations that are served": (
        "from genesys_engine.plugins.auditor import served\n"
        "served.Served.numbers = lambda self, given, tensors: ({'numbers': []}, ())",
        "pass",
    ),
    "the random generator": ("torch.manual_seed = lambda seed: None", "torch.random.seed()"),
    "the default dtype": ("torch.set_default_dtype(torch.float32)", "pass"),
    "no gradients": ("torch.set_grad_enabled(False)", "torch.set_grad_enabled(False)"),
    "a reply on every descriptor": (
        f"import json, os\nreply = {FORGED}\n"
        "for fd in range(1, 64):\n    try:\n        os.write(fd, reply)\n    except OSError:\n"
        "        pass",
        "pass",
    ),
    "a reply, and then the end": (
        f"import json, os\nreply = {FORGED}\n"
        "for fd in (1, 2, 3, 4):\n    try:\n        os.write(fd, reply)\n    except OSError:\n"
        "        pass\nos._exit(0)",
        "pass",
    ),
    "an answer ahead of the question": (
        "import json, os, struct\n"
        'message = {"answers": [{"module": True}], "counts": [0], "raised": None}\n'
        'body = json.dumps({"message": message, "tensors": []}).encode()\n'
        'os.write(3, struct.pack(">I", len(body)) + body)',
        "pass",
    ),
    "a hook on every module": (
        "from torch.nn.modules.module import register_module_forward_hook\n"
        "def same(module, args, output):\n"
        "    return output if not isinstance(module, nn.RMSNorm) else output * 1.0\n"
        "register_module_forward_hook(same)",
        "pass",
    ),
    "an exception for whoever looks": ("", "if X.dtype == torch.float64: raise SystemExit(0)"),
    "the machine is to blame": (
        "",
        "if X.shape[1] > 1: raise NotImplementedError(\"not implemented for 'Half'\")",
    ),
    "what it remembers of a beginning": (
        "SEEN = {}",
        "key = X[:, :1].detach().numpy().tobytes()\n        "
        "X = X + SEEN.setdefault((key, X.shape), 0.0)",
    ),
}


@pytest.fixture(scope="module")
def host():
    preload = ("torch", "torch._dynamo", "genesys_engine.plugins.check_job")
    host = SandboxHost(workers=1, preload=preload)
    yield host
    host.close()


def check(host, scratch, above="", inside="pass", leak=LEAK):
    source = BLOCK.format(above=above, inside=inside, leak=leak)
    payload = {"source": source, "vocab_size": 64, "seed": 0, "scales": ["0.2M"]}
    target = "sandbox_jobs:check_without_language"
    return host.submit(target, payload, scratch, LIMITS).result(250)


@pytest.mark.parametrize("name", LIES)
def test_no_lie_makes_a_block_that_sees_the_future_pass(host, tmp_path, name):
    outcome = check(host, tmp_path / "job", *LIES[name])
    assert outcome.status in ("ok", "error", "crashed", "bad_reply"), outcome.reason
    if outcome.status == "ok":
        assert outcome.value["passed"] is False
        codes = [each["code"] for each in outcome.value["findings"]]
        assert codes, "refused without a reason"
        if name == "nothing":
            assert codes == ["causality.leak"]


def test_the_same_block_without_the_leak_passes(host, tmp_path):
    outcome = check(host, tmp_path / "job", leak=HONEST)
    assert outcome.status == "ok", outcome.reason
    assert [each for each in outcome.value["findings"] if each["severity"] == "error"] == []
