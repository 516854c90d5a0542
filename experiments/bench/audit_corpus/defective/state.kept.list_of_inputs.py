"""Form: a plain module that keeps the inputs of earlier calls in a list."""

from torch import nn


class Remembering(nn.Module):
    def __init__(self, dim, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.mix = nn.GRU(dim, dim, batch_first=True, **kw)
        self.seen = []

    def forward(self, x):
        self.seen.append(float(x.mean()))
        return x + self.mix(x)[0] + sum(self.seen) / 100
