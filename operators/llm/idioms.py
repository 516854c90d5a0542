"""How common changes are written in PyTorch: shown to coders where a change speaks of them.

Small models know what a causal convolution is and lose its transposes.  Every implementer's
prompts get the same idioms.
"""

from __future__ import annotations

import re

_IDIOMS = (
    (
        r"convol",
        "causal depthwise convolution of h (batch, time, c), width k: in `__init__` `self.conv = "
        "nn.Conv1d(c, c, k, groups=c, device=device, dtype=dtype)` without padding, in "
        "`forward` `h = self.conv(F.pad(h.transpose(1, 2), (k - 1, 0))).transpose(1, 2)`",
    ),
    (
        r"shift|previous (?:token|position)|one position|last token",
        "h (batch, time, c) of the position before: `F.pad(h, (0, 0, 1, 0))[:, :-1]`",
    ),
    (
        r"per channel|vector|bias|scale|gain",
        "a value per channel of h (..., c): in `__init__` `self.scale = "
        "nn.Parameter(torch.ones(c, device=device, dtype=dtype))`, in `forward` `h * self.scale`",
    ),
    (
        r"scalar|one value|one parameter|alpha|temperature",
        "one learned number: in `__init__` `self.alpha = "
        "nn.Parameter(torch.full((1,), 0.5, device=device, dtype=dtype))`",
    ),
    (
        r"gate|gated|sigmoid",
        "a gate from h (..., c) on y (..., e): in `__init__` `self.gate = "
        "nn.Linear(c, e, device=device, dtype=dtype)`, in `forward` "
        "`y * torch.sigmoid(self.gate(h))`",
    ),
    (r"squared relu|relu\^?2|square", "squared ReLU: `F.relu(h).square()`"),
    (
        r"root mean square|rms|unit norm|normalis|normaliz",
        "root mean square 1 over the last dimension: `F.rms_norm(h, h.shape[-1:])`",
    ),
    (
        r"running|cumulative|average over time|mean over time",
        "causal mean over time of h (batch, time, c): `h.cumsum(1) / torch.arange(1, h.shape[1] "
        "+ 1, device=h.device, dtype=h.dtype)[:, None]`",
    ),
    (
        r"first half|half of the channels|halves",
        "halves of the channels: `a, b = h.chunk(2, dim=-1)`, together again "
        "`torch.cat((a, b), dim=-1)`",
    ),
)
_HEADS = (
    "y (batch, heads, time, head_dim) with its heads joined: `y.transpose(1, 2).flatten(2)`, "
    "which is (batch, time, d_model)"
)


def idioms(change: str, source: str) -> list[str]:
    """Return the idioms that a change of a unit with this source may need."""
    found = [text for words, text in _IDIOMS if re.search(words, change, re.IGNORECASE)]
    joins = ".transpose(1, 2).flatten(2)" in source
    return [*found, _HEADS] if joins else found
