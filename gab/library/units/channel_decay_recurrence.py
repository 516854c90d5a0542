"""A linear recurrence with one decay per key channel and step, in chunks."""

import torch
import torch.nn.functional as F
from torch import nn

LEAF = 4  # steps that share one reference point
STRONGEST = -30.0


class ChannelDecayRecurrence(nn.Module):
    """Linear attention in which every key channel decays at its own rate.

    S_t = diag(exp(a_t)) S_{t-1} + k_t^T v_t and y_t = q_t S_t, with S_0 = 0.

    X (N, T, d_model): the values v, heads folded into the batch N.  Reads from Z: `queries` and
    `keys` (N, T, K), and `log_decay` (N, T, K) or (N, T, 1), never positive; a decay below
    exp(-30) per step counts as exp(-30).  Returns y (N, T, d_model).

    The score of steps i >= j is the sum over channels of q_i k_j exp(A_i - A_j) with A the
    running sum of decays.  It is a matrix product of q exp(A - P) and k exp(P - A), safe for any
    reference point P between j and i: chunks are halved until `LEAF` steps are left, the seam of
    two halves is the point for the scores between them, and the middle of a leaf is close
    enough for the scores inside it.  Between chunks the state is carried.

    Source: gated linear attention, Yang et al. 2023, arXiv 2312.06635, section 4.3 (secondary
    chunks); the recurrence of RWKV-6, Peng et al. 2024, arXiv 2404.05892 (Finch).
    Cost: O(T (chunk + K) d_model) per head, state K x d_model.
    """

    interface = "recurrence"
    inputs = ("queries", "keys", "log_decay")
    outputs = ()
    slots = {}
    choices = {"chunk": (8, 16, 32, 64)}

    def __init__(self, d_model, block_loc, *, chunk: int = 32, device=None, dtype=None):
        super().__init__()
        self.chunk = chunk

    def forward(self, X, **Z):
        length = X.shape[1]
        chunk = min(self.chunk, LEAF * 2 ** ((length - 1) // LEAF).bit_length())
        # Steps added at the end hold zero keys and values: they change nothing before them.
        missing = -length % chunk
        log_decay = Z["log_decay"].expand_as(Z["keys"]).clamp(min=STRONGEST)
        q, k, v, log_decay = (
            F.pad(part, (0, 0, 0, missing)).unflatten(1, (-1, chunk))
            for part in (Z["queries"], Z["keys"], X, log_decay)
        )
        since_start = log_decay.cumsum(-2)  # (N, chunks, chunk, K)
        y = self._scores(q, k, since_start) @ v
        if q.shape[1] > 1:
            whole = since_start[..., -1:, :]
            added = (k * (whole - since_start).exp()).transpose(-1, -2) @ v
            states = self._states_before(added, whole.transpose(-1, -2).exp())
            y = y + (q * since_start.exp()) @ states
        return y.flatten(1, 2)[:, :length], Z

    def _scores(self, q, k, since_start):
        """Return the causal scores (..., C, C) of chunks q, k, since_start (..., C, K)."""
        steps = q.shape[-2]
        half = steps // 2
        point = since_start[..., half - 1 : half, :]
        if steps <= LEAF:
            scores = (q * (since_start - point).exp()) @ (k * (point - since_start).exp()).mT
            return scores.tril()
        late = q[..., half:, :] * (since_start[..., half:, :] - point).exp()
        early = k[..., :half, :] * (point - since_start[..., :half, :]).exp()
        across = late @ early.mT
        inside = self._scores(*(p.unflatten(-2, (2, half)) for p in (q, k, since_start)))
        first, second = inside.unbind(-3)
        return torch.cat((F.pad(first, (0, half)), torch.cat((across, second), -1)), -2)

    @staticmethod
    def _states_before(added, keep):
        """Return the state at the start of every chunk.

        added (N, chunks, K, d_model): what a chunk adds by its own end; keep (N, chunks, K, 1).
        """
        states = [torch.zeros_like(added[:, 0])]
        for index in range(added.shape[1] - 1):
            states.append(keep[:, index] * states[-1] + added[:, index])
        return torch.stack(states, dim=1)
