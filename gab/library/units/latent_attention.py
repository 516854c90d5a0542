"""Multi-head latent attention."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class LatentAttention(nn.Module):
    """Causal self-attention whose keys and values are read from one narrow latent per position.

    X (B, T, d_model) -> (B, T, d_model).  c_t = norm(W_c x_t) of width d_model / `shrink` and one
    positional key r_t = W_r x_t of width head_dim / 2 for all heads are all that generation would
    have to keep of a position.  Per head k_t = [W_k c_t, r_t], v_t = W_v c_t, and a query
    W_q x_t of both parts; only the second part goes through the `position` child, queries and
    key together, (B (H + 1), T, head_dim / 2).  Scores are divided by sqrt(1.5 head_dim).

    Source: DeepSeek-V2, 2024, arXiv 2405.04434, section 2.1, without compressed queries.
    Cost: O(T d_model^2 + T^2 d_model), about (2.5 + 3 / shrink) d_model^2 parameters.
    """

    interface = "sequence_mixer"
    inputs = ()
    outputs = ()
    slots = {
        "position": ("position", "tells the positional part of queries and key where it stands"),
        "latent_norm": ("norm", "normalises the latent"),
    }
    choices = {"head_dim": (16, 32, 64), "shrink": (2, 4, 8)}

    def __init__(
        self,
        d_model,
        block_loc,
        *,
        position,
        latent_norm,
        head_dim: int = 32,
        shrink: int = 4,
        device=None,
        dtype=None,
    ):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.head_dim = math.gcd(head_dim, d_model)
        self.place_dim = self.head_dim // 2
        self.heads = d_model // self.head_dim
        self.latent = d_model // shrink
        per_head = self.head_dim + self.place_dim
        self.query = nn.Linear(d_model, self.heads * per_head, bias=False, **kw)
        self.down = nn.Linear(d_model, self.latent + self.place_dim, bias=False, **kw)
        self.latent_norm = latent_norm(self.latent)
        self.up = nn.Linear(self.latent, 2 * d_model, bias=False, **kw)
        self.position = position(self.place_dim)
        self.out = nn.Linear(d_model, d_model, bias=False, **kw)

    def forward(self, X, **Z):
        q = self.query(X).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        q, q_place = q.split((self.head_dim, self.place_dim), dim=-1)
        latent, k_place = self.down(X).split((self.latent, self.place_dim), dim=-1)
        latent, Z = self.latent_norm(latent, **Z)
        k, v = self.up(latent).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        places = torch.cat((q_place, k_place.unsqueeze(1)), dim=1)
        placed, Z = self.position(places.flatten(0, 1), **Z)
        q_place, k_place = placed.view_as(places).split((self.heads, 1), dim=1)
        q = torch.cat((q, q_place), dim=-1)
        k = torch.cat((k, k_place.expand(-1, self.heads, -1, -1)), dim=-1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2)), Z
