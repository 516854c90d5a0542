"""Functions that the grammar copies into the units it writes.

They are real code, so that they can be checked and tested as such; the grammar reads this file as
text and never imports it (it needs torch).  A helper may call those above it.
"""

import torch
import torch.nn.functional as F


def largest_divisor(number: int, limit: int) -> int:
    """Return the largest divisor of `number` that is at most `limit` (at least 1)."""
    return max(n for n in range(1, max(1, limit) + 1) if number % n == 0)


def split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, T, H * D) -> (B, H, T, D)."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """(B, H, T, D) -> (B, T, H * D)."""
    return x.transpose(1, 2).flatten(2)


def shift(x: torch.Tensor, steps: int) -> torch.Tensor:
    """Move x (B, T, D) `steps` positions to the future; zeros come in at the front."""
    return F.pad(x, (0, 0, steps, 0))[:, : x.shape[1]]


def causal_convolution(
    x: torch.Tensor, convolution: torch.nn.Conv1d, dilation: int = 1
) -> torch.Tensor:
    """Apply a Conv1d over time to x (B, T, D) so that no position sees a later one."""
    reach = (convolution.kernel_size[0] - 1) * dilation
    mixed: torch.Tensor = convolution(F.pad(x.transpose(1, 2), (reach, 0)))
    return mixed.transpose(1, 2)


def time_windows(x: torch.Tensor, taps: int) -> torch.Tensor:
    """x (B, T, D) -> (B, T, D, taps): the last `taps` positions, oldest first, zeros before 0."""
    return F.pad(x, (0, 0, taps - 1, 0)).unfold(1, taps, 1)


def linear_scan(decay: torch.Tensor, value: torch.Tensor, dim: int = 1) -> torch.Tensor:
    """h[t] = decay[t] * h[t-1] + value[t] along `dim`, in log2(T) doubling steps.

    Recursive doubling as in Martin & Cundy 2018 (arXiv 1709.04057); h before the start is 0.
    """
    length, step = value.shape[dim], 1
    while step < length:
        rest = length - step
        late = decay.narrow(dim, step, rest)
        update = value.narrow(dim, step, rest) + late * value.narrow(dim, 0, rest)
        value = torch.cat([value.narrow(dim, 0, step), update], dim)
        decay = torch.cat([decay.narrow(dim, 0, step), late * decay.narrow(dim, 0, rest)], dim)
        step *= 2
    return value


def decay_mask(log_decay: torch.Tensor) -> torch.Tensor:
    """log_decay (..., T) -> M (..., T, T), M[t, s] = exp(sum of log_decay over s+1..t), s <= t."""
    total = log_decay.cumsum(-1)
    gap = total.unsqueeze(-1) - total.unsqueeze(-2)
    future = torch.ones(gap.shape[-2:], dtype=torch.bool, device=gap.device).triu(1)
    return gap.masked_fill(future, float("-inf")).exp()


def channel_decayed_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, log_decay: torch.Tensor, chunk: int = 16
) -> torch.Tensor:
    """S[t] = diag(exp(log_decay[t])) S[t-1] + k[t] v[t]^T, y[t] = S[t]^T q[t], in chunks of time.

    Gated linear attention (Yang et al. 2023, arXiv 2312.06635, section 4). q, k, log_decay are
    (B, H, T, K), v is (B, H, T, V). log_decay must lie in [-1, 0], which keeps exp(chunk) finite.
    """
    length = q.shape[2]
    room = (0, 0, 0, -length % chunk)
    padded = (F.pad(u, room) for u in (q, k, v, log_decay))
    q, k, v, a = (u.reshape(*u.shape[:2], -1, chunk, u.shape[-1]) for u in padded)
    total = a.cumsum(-2)
    end = total[..., -1:, :]
    q = q * total.exp()
    within = (q @ (k * (-total).exp()).mT).tril() @ v
    state = linear_scan(end.exp().mT, (k * (end - total).exp()).mT @ v, dim=2)
    before = F.pad(state, (0, 0, 0, 0, 1, 0))[:, :, :-1]
    return (within + q @ before).flatten(2, 3)[:, :, :length]


def delta_rule(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, beta: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Linear attention whose memory is corrected by the error of its own recall.

    S[t] = a S[t-1] + u[t] k[t]^T with u[t] = beta[t] (v[t] - a S[t-1] k[t]), y[t] = S[t] q[t]; all
    u at once from one triangular system (Yang et al. 2024, arXiv 2406.06484 and 2412.06464).
    q, k, v (B, H, T, D), beta (B, H, T, 1), mask (..., T, T): lower triangular products of a.
    """
    precise = torch.promote_types(v.dtype, torch.float32)  # there is no solver in half precision
    system = (beta * (k @ k.mT) * mask).tril(-1).to(precise)
    target = (beta * v).to(precise)
    u: torch.Tensor = torch.linalg.solve_triangular(system, target, upper=False, unitriangular=True)
    return (q @ k.mT * mask) @ u.to(v.dtype)


def toeplitz(kernel: torch.Tensor) -> torch.Tensor:
    """kernel (H, T) over lags -> causal matrix (H, T, T) with M[t, s] = kernel[t - s], s <= t."""
    time = torch.arange(kernel.shape[-1], device=kernel.device)
    lag = time[:, None] - time[None, :]
    return kernel[:, lag.clamp(min=0)].tril()
