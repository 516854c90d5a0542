"""The pre-norm block with two residual streams."""

import torch
from torch import nn


class HyperConnectionBlock(nn.Module):
    """A block over two residual streams with learned connections between streams and sublayers.

    X (B, T, d_model) -> (B, T, d_model).  Streams x1 = X and x2, the Z value `second_stream`
    (B, T, d_model), which the first block of this kind starts as a copy of X.  Around each
    sublayer f with its norm: y = f(norm(read_1 x1 + read_2 x2)), then x_i = sum_j keep_ij x_j +
    write_i y.  Blocks return x1 and hand x2 on; the last block returns x1 + x2.

    Starts: the mixer reads the first stream, the channel mixer the second; keep is the identity,
    write is 1.
    Source: Zhu et al. 2024, arXiv 2409.19606, section 2 (static hyper-connections, rate 2).
    Cost: that of its children; 16 parameters.
    """

    interface = "block"
    inputs = ("second_stream",)
    outputs = ("second_stream",)
    slots = {
        "norm_1": ("norm", "normalises what the sequence mixer reads"),
        "mixer": ("sequence_mixer", "moves information between positions, causally"),
        "norm_2": ("norm", "normalises what the channel mixer reads"),
        "mlp": ("channel_mixer", "transforms every position"),
    }

    def __init__(self, d_model, block_loc, *, norm_1, mixer, norm_2, mlp, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.last = block_loc[0] == block_loc[1] - 1
        self.norm_1 = norm_1(d_model)
        self.mixer = mixer(d_model)
        self.norm_2 = norm_2(d_model)
        self.mlp = mlp(d_model)
        # One row for each sublayer.
        self.read = nn.Parameter(torch.eye(2, **kw))
        self.keep = nn.Parameter(torch.eye(2, **kw).repeat(2, 1, 1))
        self.write = nn.Parameter(torch.ones(2, 2, **kw))

    def forward(self, X, **Z):
        second = Z.get("second_stream")
        if second is None:
            second = X
        streams = torch.stack((X, second))
        read, Z = self.norm_1(self._read(0, streams), **Z)
        y, Z = self.mixer(read, **Z)
        streams = self._write(0, streams, y)
        read, Z = self.norm_2(self._read(1, streams), **Z)
        y, Z = self.mlp(read, **Z)
        streams = self._write(1, streams, y)
        result = streams.sum(0) if self.last else streams[0]
        return result, {**Z, "second_stream": streams[1]}

    def _read(self, sublayer, streams):
        """Return what a sublayer reads of the streams (2, B, T, d_model)."""
        first, second = self.read[sublayer].to(streams.dtype)
        return first * streams[0] + second * streams[1]

    def _write(self, sublayer, streams, y):
        """Return the streams behind a sublayer that gave y (B, T, d_model), in their own dtype."""
        keep, write = (part[sublayer].to(streams.dtype) for part in (self.keep, self.write))
        kept = (keep[:, :, None, None, None] * streams).sum(1)  # no product that autocast lowers
        return kept + write[:, None, None, None] * y.to(streams.dtype)
