"""Answers of a block's process that are replaced before they are judged."""

import math

import torch


def spoil(subject):
    """Have every tensor that a subject is answered with be NaN; return it."""
    asked = subject.all_of
    object.__setattr__(subject, "all_of", lambda askings: map(_as_nan, asked(askings)))
    return subject


def _as_nan(found):
    if isinstance(found, torch.Tensor):
        return torch.full_like(found, math.nan)
    return type(found)(map(_as_nan, found)) if isinstance(found, (list, tuple)) else found
