"""The tables of a study on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genesys_engine.engine.common.text import count, decimal, duration

Row = tuple[str, ...]
Table = tuple[str, tuple[str, ...], list[Row]]
"""Title, columns, rows."""

_DEVICES = {"cpu": "processor", "cuda": "GPU"}


def tables(data: Mapping[str, Any]) -> list[Table]:
    """Return the tables of a study of either kind."""
    if data["study"] == "evolution":
        return evolution_tables(data)
    return implementation_tables(data)


def implementation_tables(data: Mapping[str, Any]) -> list[Table]:
    """Return the tables of what `implementation_summary.summarise` gave."""
    title = "SIMULATION: no language model was asked. " if data["simulation"] else ""
    state = "" if data["complete"] else "PARTIAL: some proposals are still missing. "
    columns = (
        "arm", "n", "valid", "95 % interval", "attempts", "calls", "tokens", "tokens/valid",
        "USD", "lines", "most frequent failures",
    )  # fmt: skip
    rows: list[Row] = [_arm_row(arm) for arm in data["arms"]]
    found: list[Table] = [(f"{title}{state}Per proposal", columns, rows)]
    found += [_strata(data), _lemmas(data["lemmas"])]
    if data["simulation"] and any(arm["published"] for arm in data["arms"]):
        found.append(_next_to_published(data))
    return found


def _arm_row(arm: Mapping[str, Any]) -> Row:
    failures = list(arm["failures"].items())[:3]
    of = "" if arm["n"] == arm["planned"] else f"/{arm['planned']}"
    cap = f" [{arm['cap']}]" if arm["cap"] and of else ""
    return (
        arm["arm"],
        f"{arm['n']}{of}{cap}",
        share(arm["valid_rate"]),
        interval(arm["interval"]),
        plain(arm["attempts"]),
        plain(arm["calls"]),
        _count(arm["tokens"]),
        _count(arm["tokens_per_valid"]),
        "unknown" if arm["usd"] is None and arm["n"] else plain(arm["usd"], 4),
        plain(arm["lines"], 0),
        ", ".join(f"{code} ×{times}" for code, times in failures),
    )


def _strata(data: Mapping[str, Any]) -> Table:
    units = sorted({row["units"] for arm in data["arms"] for row in arm["strata"]})
    rows = []
    for arm in data["arms"]:
        cells = {row["units"]: f"{row['valid']}/{row['n']}" for row in arm["strata"]}
        rows.append((arm["arm"], *(cells.get(each, "–") for each in units)))
    columns = ("arm", *(f"{each} unit{'s' if each > 1 else ''}" for each in units))
    return "Valid designs by number of units changed", columns, rows


def _lemmas(lemmas: Mapping[str, Any]) -> Table:
    rate = lemmas["unit_success_rate"]
    title = (
        "Coder's calls per valid design, measured and as lemmas 1 and 2 of arXiv 2506.20249 predict"
        " them"
    )
    if rate is not None:
        ends = "" if (found := lemmas["interval"]) is None else f" ({interval(found)} %)"
        of = f"of {lemmas['replies']} unit replies that passed the check"
        title += f"; p = {share(rate)}{ends}, the share {of}"
    columns = ("units", "unit by unit", "predicted N/p", "whole block", "predicted 1/p^N")
    keys = ("unitwise_measured", "unitwise_predicted", "direct_measured", "direct_predicted")
    rows = [(str(row["units"]), *(plain(row[key]) for key in keys)) for row in lemmas["rows"]]
    return title, columns, rows


def _next_to_published(data: Mapping[str, Any]) -> Table:
    columns = ("arm", "simulated valid", "95 % interval", "published valid", "simulated attempts",
               "published attempts")  # fmt: skip
    rows: list[Row] = [
        (
            arm["arm"],
            share(arm["valid_rate"]),
            interval(arm["interval"]),
            share(arm["published"]["valid_rate"]),
            plain(arm["attempts"]),
            plain(arm["published"]["attempts"]),
        )
        for arm in data["arms"]
        if arm["published"] is not None
    ]
    source = f" ({data['published_in']})" if data["published_in"] else ""
    return f"SIMULATION next to the published study{source}", columns, rows


def evolution_tables(data: Mapping[str, Any]) -> list[Table]:
    """Return the tables of what `evolution_summary.summarise_runs` gave."""
    state = "" if data["complete"] else "PARTIAL: some seeds are still missing. "
    columns = (
        "arm", "runs", "best %", "95 % interval", "mean %", "area", "gain", "peak gain",
        "volatility", "Sharpe", "drawdown", "valid", "95 % interval",
    )  # fmt: skip
    rows = []
    for arm in data["arms"]:
        ends = arm["intervals"]["best"]
        of = "" if arm["n"] == arm["planned"] else f"/{arm['planned']}"
        rows.append(
            (
                arm["arm"],
                f"{arm['n']}{of}",
                _mean(arm, "best"),
                "–" if ends is None else f"{decimal(ends[0])} to {decimal(ends[1])}",
                *(_mean(arm, key) for key in ("mean", "area", "end", "peak")),
                *(_mean(arm, key) for key in ("volatility", "sharpe", "drawdown")),
                share(arm["valid_rate"]),
                interval(arm["valid_interval"]),
            )
        )
    title = (
        "Means over seeds; gains in percent of the reference, which stands until one is better;"
        " gain to drawdown: of the population's mean, by generations"
    )
    return [(f"{state}{title}", columns, rows), _used(data)]


def _mean(arm: Mapping[str, Any], key: str) -> str:
    """Return a mean over runs; it says of how many where not all of them have the number."""
    known = arm["known"][key]
    of = f" (n = {known})" if 0 < known < arm["n"] else ""
    return plain(arm["means"][key], 2) + of


def _used(data: Mapping[str, Any]) -> Table:
    columns = (
        "arm", "LLM tokens", "USD", "tokens trained on", "device", "device time", "wall time",
        "runs ended by a cap",
    )  # fmt: skip
    rows: list[Row] = []
    for arm in data["arms"]:
        used = arm["used"]
        rows.append(
            (
                arm["arm"],
                _count(used["llm_tokens"]),
                "unknown" if used["llm_usd"] is None and arm["n"] else plain(used["llm_usd"], 4),
                _count(used["training_tokens"]),
                ", ".join(_DEVICES.get(name, name) for name in arm["device"]),
                *(_time(used[key]) for key in ("device_s", "wall_s")),
                ", ".join(f"{cap} ×{times}" for cap, times in arm["caps"].items()),
            )
        )
    return "Cost per run, means over seeds", columns, rows


# --- numbers -----------------------------------------------------------------------------------


def share(value: float | None) -> str:
    """Return a proportion in percent; a dash for none."""
    return "–" if value is None else f"{100 * value:.0f} %"


def interval(ends: tuple[float, float] | list[float] | None) -> str:
    """Return an interval of proportions in percent; a dash for none."""
    return "–" if ends is None else f"{100 * ends[0]:.0f} to {100 * ends[1]:.0f}"


def plain(value: float | None, digits: int = 1) -> str:
    """Return a number with so many decimals; a dash for none."""
    return "–" if value is None else decimal(value, digits)


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else duration(seconds)


def _count(value: float | None) -> str:
    return "–" if value is None else count(value)
