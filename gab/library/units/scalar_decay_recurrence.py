"""A linear recurrence with one decay per head and step, in chunks."""

import torch
import torch.nn.functional as F
from torch import nn

STRONGEST = -30.0  # exp(-30) = 1e-13 is forgotten; larger sums would cost fp32 its digits


class ScalarDecayRecurrence(nn.Module):
    """Linear attention whose whole state decays by one number per step.

    S_t = exp(a_t) S_{t-1} + k_t^T v_t and y_t = q_t S_t, with S_0 = 0.

    X (N, T, d_model): the values v, heads folded into the batch N.  Reads from Z: `queries` and
    `keys` (N, T, K), and `log_decay` (N, T, 1) or (N, T, K), never positive; several channels
    are averaged to one, and a decay below exp(-30) per step counts as exp(-30).
    Returns y (N, T, d_model).

    Computed in chunks of `chunk` steps: within a chunk as masked attention, between chunks
    through the state, so that time and memory grow linearly with T.  Every exponent is a sum of
    decays between two steps and hence at most 0: nothing overflows.

    Source: Mamba-2, the state space duality, Dao and Gu 2024, arXiv 2405.21060, section 6; the
    chunked retention of RetNet, Sun et al. 2023, arXiv 2307.08621, eq. 7.
    Cost: O(T (chunk + K) d_model) per head, state K x d_model.
    """

    interface = "recurrence"
    inputs = ("queries", "keys", "log_decay")
    outputs = ()
    slots = {}
    choices = {"chunk": (16, 32, 64, 128)}

    def __init__(self, d_model, block_loc, *, chunk: int = 64, device=None, dtype=None):
        super().__init__()
        self.chunk = chunk

    def forward(self, X, **Z):
        length = X.shape[1]
        chunk = min(self.chunk, length)
        # Steps added at the end hold zero keys and values: they change nothing before them.
        missing = -length % chunk
        log_decay = Z["log_decay"].mean(-1, keepdim=True).clamp(min=STRONGEST)
        q, k, v, log_decay = (
            F.pad(part, (0, 0, 0, missing)).unflatten(1, (-1, chunk))
            for part in (Z["queries"], Z["keys"], X, log_decay)
        )
        since_start = log_decay.squeeze(-1).cumsum(-1)  # (N, chunks, chunk)
        between = since_start.unsqueeze(-1) - since_start.unsqueeze(-2)
        future = torch.ones(chunk, chunk, dtype=torch.bool, device=X.device).triu(1)
        # Masked before the exponential: the future's differences are positive and may overflow.
        decay = between.masked_fill(future, float("-inf")).exp()
        y = ((q @ k.transpose(-1, -2)) * decay) @ v
        if q.shape[1] > 1:
            to_end = (since_start[..., -1:] - since_start).exp().unsqueeze(-1)
            states = self._states_before((k * to_end).transpose(-1, -2) @ v, since_start[..., -1])
            y = y + (q * since_start.exp().unsqueeze(-1)) @ states
        return y.flatten(1, 2)[:, :length], Z

    @staticmethod
    def _states_before(added, log_decay):
        """Return the state at the start of every chunk.

        added (N, chunks, K, d_model): what a chunk adds by its own end; log_decay (N, chunks).
        """
        keep = log_decay.exp()[..., None, None]
        states = [torch.zeros_like(added[:, 0])]
        for index in range(added.shape[1] - 1):
            states.append(keep[:, index] * states[-1] + added[:, index])
        return torch.stack(states, dim=1)
