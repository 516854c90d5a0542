"""The shift by several positions."""

import torch
import torch.nn.functional as F
from torch import nn


class MultiTokenShift(nn.Module):
    """Groups of channels that come from earlier and earlier positions.

    X (B, T, d_model) -> (B, T, d_model): the channels lie in `reach` groups of about equal size,
    and group g of position t is that of x_{t - g}: the first group is the present, positions
    before the start are zeros.  No parameters: the parent's projections mix the groups.

    Source: the shift of RWKV, Peng et al. 2023, arXiv 2305.13048, section 3, of half of the
    channels by one position, for more groups and positions.
    Cost: O(T d_model).
    """

    interface = "local_mixer"
    inputs = ()
    outputs = ()
    slots = {}
    choices = {"reach": (2, 3, 4, 8)}

    def __init__(self, d_model, block_loc, *, reach: int = 4, device=None, dtype=None):
        super().__init__()
        self.reach = reach

    def forward(self, X, **Z):
        groups = X.tensor_split(self.reach, dim=-1)
        length = X.shape[1]
        late = [F.pad(part, (0, 0, lag, 0))[:, :length] for lag, part in enumerate(groups)]
        return torch.cat(late, dim=-1), Z
