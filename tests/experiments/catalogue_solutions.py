"""Every change of the catalogue made by hand in the library's source: (old, new) replacements.

One entry per change, in the order of `CATALOGUE[unit]`.
"""

from __future__ import annotations

Edits = tuple[tuple[str, str], ...]

_INIT = "super().__init__()\n"


def parameter(name: str, value: float, width: str = "d_model") -> tuple[str, str]:
    """Return the edit that makes a learned vector."""
    made = f"nn.Parameter(torch.full(({width},), {value}, device=device, dtype=dtype))"
    return _INIT, f"{_INIT}        self.{name} = {made}\n"


def hidden(name: str, value: float, after: str, width: str) -> tuple[str, str]:
    """Return the edit that makes a learned vector of the hidden width, behind the line `after`."""
    made = f"nn.Parameter(torch.full(({width},), {value}, device=device, dtype=dtype))"
    return after, f"{after}        self.{name} = {made}\n"


_TORCH = ("import torch.nn.functional as F\n", "import torch\nimport torch.nn.functional as F\n")
_TORCH_ALONE = ("from torch import nn\n", "import torch\nfrom torch import nn\n")

SOLUTIONS: dict[str, tuple[Edits, ...]] = {
    "PreNormBlock": (
        (
            _TORCH_ALONE,
            parameter("gain_1", 0.5),
            parameter("gain_2", 0.5),
            ("X = X + mixed\n", "X = X + self.gain_1 * mixed\n"),
            ("return X + mixed, Z", "return X + self.gain_2 * mixed, Z"),
        ),
        (
            _TORCH_ALONE,
            parameter("bias", 0.1),
            ("X = X + mixed\n", "X = X + mixed + self.bias\n"),
        ),
        (
            (
                "normed, Z = self.norm_2(X, **Z)\n        mixed, Z = self.mlp(normed, **Z)",
                "normed, Z = self.norm_2(X, **Z)\n        mixed, Z = self.mlp(normed + mixed, **Z)",
            ),
        ),
    ),
    "ResidualBlock": (
        (
            _TORCH_ALONE,
            parameter("gain", 0.5),
            ("return X + mixed, Z", "return X + self.gain * mixed, Z"),
        ),
        (("return X + mixed, Z", "return X + mixed.tanh(), Z"),),
        (
            _TORCH_ALONE,
            parameter("gain", 0.9),
            ("return X + mixed, Z", "return self.gain * X + mixed, Z"),
        ),
    ),
    "RMSNorm": (
        (
            parameter("bias", 0.1),
            ("weight, self.eps), Z", "weight, self.eps) + self.bias, Z"),
        ),
        (
            (
                "return F.rms_norm(X, X.shape[-1:], weight, self.eps), Z",
                "return X / (X.abs().mean(-1, keepdim=True) + self.eps) * weight, Z",
            ),
            ("import torch.nn.functional as F\n", ""),
        ),
        (
            (
                "return F.rms_norm(X, X.shape[-1:], weight, self.eps), Z",
                "return F.rms_norm(X, X.shape[-1:], None, self.eps).tanh() * weight, Z",
            ),
        ),
    ),
    "LayerNorm": (
        (
            (
                "F.layer_norm(X, X.shape[-1:], self.weight, self.bias, self.eps)",
                "F.rms_norm(X, X.shape[-1:], self.weight, self.eps) + self.bias",
            ),
        ),
        (
            (
                "F.layer_norm(X, X.shape[-1:], self.weight, self.bias, self.eps)",
                "F.layer_norm(X, X.shape[-1:], eps=self.eps).tanh() * self.weight + self.bias",
            ),
        ),
        (
            parameter("skip", 0.1),
            ("self.bias, self.eps), Z", "self.bias, self.eps) + self.skip * X, Z"),
        ),
    ),
    "CausalAttention": (
        (
            _TORCH,
            parameter("gain", 1.0),
            (
                "self.out(y.transpose(1, 2).flatten(2))",
                "self.out(y.transpose(1, 2).flatten(2) * self.gain)",
            ),
        ),
        (
            (
                "q, k = placed.view_as(qk)\n",
                "q, k = F.normalize(placed.view_as(qk), dim=-1)\n",
            ),
        ),
        (
            (
                "self.position = position(self.head_dim)\n",
                "self.position = position(self.head_dim)\n"
                "        self.gate = nn.Linear(d_model, d_model, bias=False, **kw)\n",
            ),
            (
                "self.out(y.transpose(1, 2).flatten(2))",
                "self.out(y.transpose(1, 2).flatten(2) * self.gate(X).sigmoid())",
            ),
        ),
        (("attend(q, k, v.squeeze(0))", "attend(q, k, v.squeeze(0).tanh())"),),
    ),
    "Rotary": (
        (
            parameter("gain", 1.0),
            (
                "return torch.cat(turned, dim=-1), Z",
                "return torch.cat(turned, dim=-1) * self.gain, Z",
            ),
        ),
        (("angle = time[:, None] *", "angle = 0.5 * time[:, None] *"),),
        (("angle = time[:, None] *", "angle = -time[:, None] *"),),
        (
            (
                "cos, sin = angle.cos()",
                "angle = angle * (channel < half // 2)\n        cos, sin = angle.cos()",
            ),
        ),
    ),
    "SwiGLUMLP": (
        (("F.silu(gate) * up", "F.relu(gate).square() * up"),),
        (("import torch.nn.functional as F\n", ""), ("F.silu(gate) * up", "gate.sigmoid() * up")),
        (
            _TORCH,
            hidden("bias", 0.1, "hidden = 16 * max(1, round(expand * d_model / 16))\n", "hidden"),
            ("F.silu(gate) * up", "F.silu(gate) * up + self.bias"),
        ),
        (
            (
                "return self.down(F.silu(gate) * up), Z",
                "y = F.silu(gate) * up\n"
                "        size = y.square().mean(-1, keepdim=True).sqrt()\n"
                "        return self.down(y / (size + 1e-6)), Z",
            ),
        ),
    ),
    "GeluMLP": (
        (("F.gelu(self.up(X))", "F.relu(self.up(X)).square()"),),
        (
            _TORCH,
            parameter("gain", 1.0, "expand * d_model"),
            ("F.gelu(self.up(X))", "F.gelu(self.up(X)) * self.gain"),
        ),
        (
            _TORCH,
            parameter("skip", 0.1),
            (
                "self.down(F.gelu(self.up(X))), Z",
                "self.down(F.gelu(self.up(X))) + self.skip * X, Z",
            ),
        ),
    ),
    "Mamba2Mixer": (
        (("F.silu(xBC).split", "xBC.tanh().split"),),
        (("y.flatten(2) * F.silu(gate)", "y.flatten(2) * gate.sigmoid()"),),
        (parameter("gain", 0.5), ("return self.out(y), Z", "return self.out(y) * self.gain, Z")),
    ),
    "ShortConvolution": (
        (
            (
                "return y.permute(0, 2, 3, 1).squeeze(1), Z",
                "return F.silu(y.permute(0, 2, 3, 1).squeeze(1)), Z",
            ),
        ),
        (
            parameter("skip", 1.0),
            (
                "return y.permute(0, 2, 3, 1).squeeze(1), Z",
                "return y.permute(0, 2, 3, 1).squeeze(1) + self.skip * X, Z",
            ),
        ),
        (
            ("        bias = torch.empty(d_model, device=device, dtype=dtype)\n", ""),
            (
                "        self.bias = nn.Parameter(bias.uniform_(-(kernel**-0.5), kernel**-0.5))\n",
                "",
            ),
            parameter("gain", 1.0),
            ("self.weight, self.bias, groups", "self.weight, None, groups"),
            (
                "return y.permute(0, 2, 3, 1).squeeze(1), Z",
                "return y.permute(0, 2, 3, 1).squeeze(1) * self.gain, Z",
            ),
        ),
    ),
    "ScalarDecayRecurrence": (
        (('(Z["queries"], Z["keys"], X,', '(Z["queries"], F.normalize(Z["keys"], dim=-1), X,'),),
        (('log_decay = Z["log_decay"]', 'log_decay = 0.5 * Z["log_decay"]'),),
        (
            parameter("gain", 1.0),
            (
                "return y.flatten(1, 2)[:, :length], Z",
                "return y.flatten(1, 2)[:, :length] * self.gain, Z",
            ),
        ),
        (('(Z["queries"], Z["keys"], X,', '(Z["queries"], Z["keys"], X.tanh(),'),),
    ),
    "ChannelDecayRecurrence": (
        (('(Z["queries"], Z["keys"], X,', '(Z["queries"], F.normalize(Z["keys"], dim=-1), X,'),),
        (('log_decay = Z["log_decay"]', 'log_decay = 0.5 * Z["log_decay"]'),),
        (
            parameter("gain", 1.0),
            (
                "return y.flatten(1, 2)[:, :length], Z",
                "return y.flatten(1, 2)[:, :length] * self.gain, Z",
            ),
        ),
        (('(Z["queries"], Z["keys"], X,', '(Z["queries"], Z["keys"], X.tanh(),'),),
    ),
    "MultiScaleRetention": (
        (
            ("import torch.nn.functional as F\n", ""),
            ("F.silu(gate) * y", "gate.sigmoid() * y"),
        ),
        (
            (
                "q, k = placed.chunk(2)\n",
                "q, k = placed.chunk(2)\n        q = F.normalize(q, dim=-1)\n",
            ),
        ),
        (
            parameter("gain", 0.5),
            ("self.out(F.silu(gate) * y), Z", "self.out(F.silu(gate) * y) * self.gain, Z"),
        ),
    ),
    "RWKV6TimeMix": (
        (("y * F.silu(self.gate(x_g))", "y * self.gate(x_g).sigmoid()"),),
        (("late = [", "k = F.normalize(k, dim=-1)\n        late = ["),),
        (
            parameter("gain", 0.5),
            (
                "return self.out(y * F.silu(self.gate(x_g))), Z",
                "return self.out(y * F.silu(self.gate(x_g))) * self.gain, Z",
            ),
        ),
    ),
    "TokenShift": (
        (
            _TORCH,
            parameter("gain", 0.9),
            ("F.pad(X, (0, 0, 1, -1)), Z", "F.pad(X, (0, 0, 1, -1)) * self.gain, Z"),
        ),
        (
            _TORCH,
            parameter("bias", 0.1),
            ("F.pad(X, (0, 0, 1, -1)), Z", "F.pad(X, (0, 0, 1, -1)) + self.bias, Z"),
        ),
        (
            (
                "return F.pad(X, (0, 0, 1, -1)), Z",
                "past = F.pad(X, (0, 0, 2, 0))\n"
                "        return (past[:, :-2] + past[:, 1:-1]) / 2, Z",
            ),
        ),
    ),
    "RWKV6ChannelMix": (
        (
            (
                "import torch\nfrom torch import nn",
                "import torch\nimport torch.nn.functional as F\nfrom torch import nn",
            ),
            (
                "torch.relu(self.key(X + back * self.mix_k)).square()",
                "F.gelu(self.key(X + back * self.mix_k))",
            ),
        ),
        (("torch.sigmoid(", "torch.tanh("),),
        (
            hidden("gain", 1.0, "hidden = 16 * max(1, round(expand * d_model / 16))\n", "hidden"),
            ("self.mix_k)).square()", "self.mix_k)).square() * self.gain"),
        ),
    ),
    "TTTLinear": (
        (parameter("gain", 0.5), ("return self.out(y), Z", "return self.out(y * self.gain), Z")),
        (("q, k = placed.view_as(qk)\n", "q, k = F.normalize(placed.view_as(qk), dim=-1)\n"),),
        (("v.squeeze(0), eta.permute", "v.squeeze(0).tanh(), eta.permute"),),
    ),
}
