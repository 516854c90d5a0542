"""Changes that can be asked of the seeds' units, for the proposals of an implementation study.

Each asks for one thing in words that leave one reading, can be made in any style of code, and
changes what the unit computes at its initial or at other parameters.  A test makes every one of
them in the library's own source and has the result checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """What is asked of a unit, and why one might want it."""

    text: str
    why: str


_BOUNDED = "bounded values keep outliers from dominating"
_GAIN = "channels differ in how much they have to say"
_SMALL_START = "a small start leaves the residual path in charge early in training"
_COSINE = "unit lengths keep products of queries and keys from growing"
_GATE = "a gate between 0 and 1 can close without changing a sign"
_SQUARED = "a squared ReLU is sparse and was found to train faster (Primer)"
_BIAS = "a bias lets a channel rest at a level other than zero"
_LONGER = "a slower decay remembers more of the sequence"
_SKIP = "a short path keeps what the unit would otherwise have to learn to copy"

CATALOGUE: Mapping[str, tuple[Change, ...]] = {
    "PreNormBlock": (
        Change(
            "Multiply the output of the sequence mixer and the output of the channel mixer each "
            "by a learned gain per channel that starts at 0.5, before it is added to the stream.",
            _SMALL_START,
        ),
        Change(
            "After the output of the sequence mixer is added to the stream, add a learned bias "
            "per channel that starts at 0.1, so that norm_2 reads the stream with the bias.",
            _BIAS,
        ),
        Change(
            "Let the channel mixer read the sum of the second norm's output and the sequence "
            "mixer's output, instead of the second norm's output alone.",
            _SKIP,
        ),
    ),
    "ResidualBlock": (
        Change(
            "Multiply the mixer's output by a learned gain per channel that starts at 0.5, before "
            "it is added to the stream.",
            _SMALL_START,
        ),
        Change("Apply tanh to the mixer's output before it is added to the stream.", _BOUNDED),
        Change(
            "Multiply the stream X by a learned gain per channel that starts at 0.9 before the "
            "mixer's output is added to it; the norm still reads X itself.",
            _GAIN,
        ),
    ),
    "RMSNorm": (
        Change(
            "Add a learned bias per channel that starts at 0.1, after the gain is applied.", _BIAS
        ),
        Change(
            "Divide by the mean absolute value of the position's channels (plus eps) instead of "
            "by their root mean square; keep the gain.",
            "the mean absolute value is less moved by single large channels",
        ),
        Change("Apply tanh to the normalised values, before the gain is applied.", _BOUNDED),
    ),
    "LayerNorm": (
        Change(
            "Leave the centring out: divide by the root mean square of the position's channels "
            "and do not subtract the mean; keep the gain and the bias.",
            "centring costs a pass and is often not needed",
        ),
        Change(
            "Apply tanh to the normalised values, before the gain and the bias are applied.",
            _BOUNDED,
        ),
        Change(
            "Add to the result the input X multiplied by a learned gain per channel that starts "
            "at 0.1.",
            _SKIP,
        ),
    ),
    "CausalAttention": (
        Change(
            "Multiply the joined heads by a learned gain per channel that starts at 1, before the "
            "output projection.",
            _GAIN,
        ),
        Change(
            "Scale every query and every key to unit length (L2 norm over the channels of the "
            "head), after the position child and before the attention.",
            _COSINE,
        ),
        Change(
            "Multiply the joined heads by a sigmoid gate, before the output projection: the gate "
            "is sigmoid of a new linear projection of X, without a bias, of width d_model.",
            _GATE,
        ),
        Change("Apply tanh to the values before the attention averages them.", _BOUNDED),
    ),
    "Rotary": (
        Change(
            "Multiply the turned channels by a learned gain per channel that starts at 1.", _GAIN
        ),
        Change("Halve every angle: turn by half of what it is now.", "distances look shorter"),
        Change(
            "Turn in the other direction: use minus the angle.",
            "the direction decides which phase a query prefers",
        ),
        Change(
            "Turn only the first half of the planes; the channels of the other planes stay as "
            "they are.",
            "channels that do not turn can match content at any distance",
        ),
    ),
    "SwiGLUMLP": (
        Change("Replace the SiLU of the gate by a squared ReLU.", _SQUARED),
        Change("Replace the SiLU of the gate by a sigmoid.", _GATE),
        Change(
            "Add a learned bias per hidden channel that starts at 0.1 to the gated hidden values, "
            "before the down projection.",
            _BIAS,
        ),
        Change(
            "Divide the gated hidden values by their root mean square over the hidden channels "
            "(plus 1e-6), before the down projection.",
            "the down projection then sees values of one size",
        ),
    ),
    "GeluMLP": (
        Change("Replace the GELU by a squared ReLU.", _SQUARED),
        Change(
            "Multiply the hidden values by a learned gain per hidden channel that starts at 1, "
            "after the GELU.",
            _GAIN,
        ),
        Change(
            "Add to the output the input X multiplied by a learned gain per channel that starts "
            "at 0.1.",
            _SKIP,
        ),
    ),
    "Mamba2Mixer": (
        Change("Replace the SiLU that follows the convolution by a tanh.", _BOUNDED),
        Change(
            "Replace the SiLU of the gate by a sigmoid, where the gate multiplies the result "
            "before the gated norm.",
            _GATE,
        ),
        Change(
            "Multiply the output of the output projection by a learned gain per channel that "
            "starts at 0.5.",
            _SMALL_START,
        ),
    ),
    "ShortConvolution": (
        Change("Apply a SiLU to the result of the convolution.", "the parent gets soft gates"),
        Change(
            "Add to the result the input X multiplied by a learned gain per channel that starts "
            "at 1.",
            _SKIP,
        ),
        Change(
            "Remove the bias; instead multiply the result by a learned gain per channel that "
            "starts at 1.",
            _GAIN,
        ),
    ),
    "ScalarDecayRecurrence": (
        Change(
            "Scale the keys of every step to unit length (L2 norm over the key's channels) before "
            "they are used.",
            _COSINE,
        ),
        Change("Use half of every log decay.", _LONGER),
        Change("Multiply the result by a learned gain per channel that starts at 1.", _GAIN),
        Change("Apply tanh to the values before they are summed.", _BOUNDED),
    ),
    "ChannelDecayRecurrence": (
        Change(
            "Scale the keys of every step to unit length (L2 norm over the key's channels) before "
            "they are used.",
            _COSINE,
        ),
        Change("Use half of every log decay.", _LONGER),
        Change("Multiply the result by a learned gain per channel that starts at 1.", _GAIN),
        Change("Apply tanh to the values before they are summed.", _BOUNDED),
    ),
    "MultiScaleRetention": (
        Change("Replace the SiLU of the gate by a sigmoid.", _GATE),
        Change(
            "Scale every query to unit length (L2 norm over the channels of the head), after the "
            "position child.",
            _COSINE,
        ),
        Change(
            "Multiply the output of the output projection by a learned gain per channel that "
            "starts at 0.5.",
            _SMALL_START,
        ),
    ),
    "RWKV6TimeMix": (
        Change("Replace the SiLU of the gate by a sigmoid.", _GATE),
        Change(
            "Scale the keys of every head to unit length (L2 norm over the channels of the head) "
            "before they are used.",
            _COSINE,
        ),
        Change(
            "Multiply the output of the output projection by a learned gain per channel that "
            "starts at 0.5.",
            _SMALL_START,
        ),
    ),
    "TokenShift": (
        Change(
            "Multiply the shifted values by a learned gain per channel that starts at 0.9.", _GAIN
        ),
        Change(
            "Add a learned bias per channel that starts at 0.1 to the shifted values, at the "
            "first position too.",
            _BIAS,
        ),
        Change(
            "Return the mean of the two positions before (zeros where there is none) instead of "
            "the position just before.",
            "two positions tell more of a word than one",
        ),
    ),
    "RWKV6ChannelMix": (
        Change("Replace the squared ReLU by a GELU.", "a GELU also passes small negative values"),
        Change("Replace the sigmoid of the gate by a tanh.", "a tanh can also turn a sign"),
        Change(
            "Multiply the hidden values by a learned gain per hidden channel that starts at 1, "
            "after the squared ReLU.",
            _GAIN,
        ),
    ),
    "TTTLinear": (
        Change(
            "Multiply the output of the out_norm child by a learned gain per channel that starts "
            "at 0.5, before the output projection.",
            _SMALL_START,
        ),
        Change(
            "Scale every query and every key to unit length (L2 norm over the channels of the "
            "head), after the position child.",
            _COSINE,
        ),
        Change("Apply tanh to the values before the inner model learns from them.", _BOUNDED),
    ),
}
"""Name of a unit -> the changes that can be asked of it."""
