"""The short causal depthwise convolution."""

import torch
import torch.nn.functional as F
from torch import nn


class ShortConvolution(nn.Module):
    """A weighted sum of the last `kernel` positions, channel by channel.

    X (B, T, d_model) -> (B, T, d_model): sum_i w_i x_{t - kernel + 1 + i} + b with zeros before
    the start; weights and bias start uniform within 1 / sqrt(kernel).  The parent applies the
    activation.

    Source: the convolution of Mamba, Gu and Dao 2023, arXiv 2312.00752, section 3.4 (kernel 4).
    Cost: O(T kernel d_model), (kernel + 1) d_model parameters.
    """

    interface = "local_mixer"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"kernel": (2, 3, 4)}

    def __init__(self, d_model, block_loc, *, kernel: int = 4, device=None, dtype=None):
        super().__init__()
        self.kernel = kernel
        weight = torch.empty(d_model, 1, 1, kernel, device=device, dtype=dtype)
        bias = torch.empty(d_model, device=device, dtype=dtype)
        self.weight = nn.Parameter(weight.uniform_(-(kernel**-0.5), kernel**-0.5))
        self.bias = nn.Parameter(bias.uniform_(-(kernel**-0.5), kernel**-0.5))

    def forward(self, X, **Z):
        # As an image of height 1 with channels last: X stays as it lies in memory, which makes
        # this nearly twice as fast on a CPU as a convolution of the transposed sequence.
        image = F.pad(X, (0, 0, self.kernel - 1, 0)).unsqueeze(1).permute(0, 3, 1, 2)
        y = F.conv2d(image, self.weight, self.bias, groups=X.shape[-1])
        return y.permute(0, 2, 3, 1).squeeze(1), Z
