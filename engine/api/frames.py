"""The frames that runs and studies are read as: their columns, with types, units and meanings.

`docs/python.md` lists them; a test compares the two.  Columns never change their names; new ones
are added at the end of their table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genesys_engine.engine.jobs.scores import Controls, Scores

if TYPE_CHECKING:
    import pandas as pd

INT, REAL, TEXT, FLAG, TIME, ANY = (
    "Int64",
    "float64",
    "str",
    "boolean",
    "datetime64[ms, UTC]",
    "object",
)
CONTROLS = ("untrained", "bigram")


@dataclass(frozen=True)
class Column:
    """A column of a frame: its pandas type, its unit ("" for none) and what it says."""

    name: str
    dtype: str
    unit: str
    meaning: str


_DESIGN = Column("design", INT, "", "number of the design")
_RUNG = Column("rung", TEXT, "", "scale, such as 0.2M")
_REPLICATE = Column("replicate", INT, "", "training seed; from 1000 on a fresh one of the finals")
_PARENTS = Column("parents", ANY, "", "tuple of the parents' numbers")
_OPERATOR = Column("operator", TEXT, "", "operator that made it; `seed:NAME` for a seed")
_CHANGE = Column("change", TEXT, "", "the change in one sentence")
_NAME = Column("name", TEXT, "", "name of a seed; missing for a child")
_FITNESS = Column("fitness", REAL, "%", "mean gain over the reference, over its rungs")
_PARAMETERS = Column("parameters", REAL, "", "parameters of the language model at its rung")
_FLOPS = Column("flops", REAL, "FLOPs per token", "of a forward pass at its rung")
_TOKENS = Column("tokens", INT, "tokens", "trained on")

DESIGNS = (
    _DESIGN,
    _NAME,
    Column("accepted", FLAG, "", "whether it passed its check"),
    _PARENTS,
    _OPERATOR,
    _CHANGE,
    Column("rung", TEXT, "", "highest scale verified; missing before the first verification"),
    _FITNESS,
    Column("parameters", REAL, "", "parameters at the lowest rung; missing where the check failed"),
    Column("flops", REAL, "FLOPs per token", "of a forward pass at the lowest rung"),
    Column("disqualified", TEXT, "", "why its confirmation disqualified it; empty if it did not"),
    Column("digest", TEXT, "", "SHA-256 of the tree"),
)
LEADERBOARD = (
    Column("place", INT, "", "1 is best: highest rung first, then fitness"),
    _DESIGN,
    _NAME,
    _RUNG,
    Column("gain", REAL, "%", "gain over the reference at this rung"),
    _FITNESS,
    Column("verdict", TEXT, "", "better, worse, no difference ... than the reference, given noise"),
    Column("fresh", REAL, "%", "mean gain with the fresh seeds of the finals"),
    _FLOPS,
    Column("compute", REAL, "%", "FLOPs per token over those of the reference"),
    _PARAMETERS,
    Column("train_s", REAL, "s", "time of the training"),
    _TOKENS,
    Column("llm_tokens", INT, "tokens", "that language models used to make it"),
    Column("llm_usd", REAL, "USD", "what that cost; missing where a price is unknown"),
    _OPERATOR,
    _PARENTS,
    _CHANGE,
)
VERIFICATIONS = (
    Column("verification", INT, "", "number of the verification"),
    _DESIGN,
    _RUNG,
    _REPLICATE,
    Column("fresh", FLAG, "", "whether it belongs to the finals"),
    Column("status", TEXT, "", "ok or failed"),
    Column("reason", TEXT, "", "why it failed; empty if it did not"),
    Column("gain", REAL, "%", "gain over the reference at this rung"),
    _TOKENS,
    Column("train_s", REAL, "s", "time of the training"),
    Column("eval_s", REAL, "s", "time of the evaluation"),
)
CURVES = (
    Column("verification", INT, "", "number of the verification"),
    _DESIGN,
    _RUNG,
    _REPLICATE,
    Column("tokens", INT, "tokens", "seen so far"),
    Column("loss", REAL, "nats per token", "training loss"),
)
EVENTS = (
    Column("event", INT, "", "number of the event"),
    Column("at", TIME, "UTC", "when it happened"),
    Column("kind", TEXT, "", "such as verification.finished"),
    Column("decisive", FLAG, "", "whether it follows from experiment, seed and results alone"),
    Column("payload", ANY, "", "dictionary of what it holds"),
)
LLM_CALLS = (
    Column("at", TIME, "UTC", "when the reply came"),
    Column("task", TEXT, "", "task that asked first"),
    Column("role", TEXT, "", "proposer, reviewer, planner, coder or observer"),
    Column("model", TEXT, "", "model that was asked"),
    Column("attempt", INT, "", "1 for the first try"),
    Column("input_tokens", INT, "tokens", "of the prompt"),
    Column("output_tokens", INT, "tokens", "of the reply"),
    Column("usd", REAL, "USD", "price; missing where it is unknown"),
    Column("latency_s", REAL, "s", "time until the reply"),
    Column("messages", ANY, "", "list of (role, text); keys are hidden"),
    Column("reply", TEXT, "", "the reply; missing where the request was refused"),
    Column("refused", TEXT, "", "why it was refused; missing if it was not"),
)
COMPARISONS = (
    Column("first", TEXT, "", "arm"),
    Column("second", TEXT, "", "arm that it is compared with"),
    Column("measure", TEXT, "", "what was compared, in an evolution study"),
    Column("proposals", TEXT, "", "which proposals were compared, in an implementation study"),
    Column("n", INT, "", "pairs of results"),
    Column("difference", REAL, "points", "of first over second"),
    Column("low", REAL, "points", "lower end of its 95 % interval"),
    Column("high", REAL, "points", "upper end of its 95 % interval"),
    Column("sentence", TEXT, "", "the same in words"),
)


def frame(
    columns: Sequence[Column],
    rows: Iterable[Mapping[str, Any]],
    more: Mapping[str, Sequence[float | None]] | None = None,
) -> pd.DataFrame:
    """Return rows as a frame; `more` are further columns of numbers, by name.

    Types are the same with and without rows; `attrs["units"]` holds the units by column.
    """
    import pandas as pd

    kept = list(rows)
    data = {each.name: _series(each, [row.get(each.name) for row in kept]) for each in columns}
    for name, values in (more or {}).items():
        data[name] = pd.Series(values, dtype=REAL)
    made = pd.DataFrame(data)
    made.attrs["units"] = {each.name: each.unit for each in columns if each.unit}
    return made


def _series(column: Column, values: list[Any]) -> pd.Series:
    import pandas as pd

    if column.dtype == TIME:
        return pd.to_datetime(pd.Series(values, dtype=REAL), unit="s", utc=True).astype(TIME)
    return pd.Series(values, dtype=column.dtype)


def score_columns(
    rows: Iterable[tuple[Scores, Controls]],
) -> dict[str, list[float | None]]:
    """Return a column for every metric, one for its standard error, and one for every control."""
    kept = list(rows)
    metrics = list(dict.fromkeys(name for scores, _ in kept for name in scores))
    found: dict[str, list[float | None]] = {}
    for name in metrics:
        found[name] = [_value(scores, name) for scores, _ in kept]
    for name in metrics:
        errors = [scores[name].stderr if name in scores else None for scores, _ in kept]
        found[f"stderr.{name}"] = errors
        for control in CONTROLS:
            found[f"{control}.{name}"] = [_value(each.get(control, {}), name) for _, each in kept]
    return found


def _value(scores: Scores, name: str) -> float | None:
    return scores[name].value if name in scores else None
