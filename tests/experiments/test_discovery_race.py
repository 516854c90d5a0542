"""The benchmark that compares a discovery with the seeds: its statistics, budgets and tables."""

import json
import math
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from genesys_engine.gab import library
from genesys_engine.gab.errors import InputError

BENCH = Path(__file__).parents[2] / "experiments" / "bench"
sys.path.insert(0, str(BENCH))

from discovery_picture import main as draw  # noqa: E402
from discovery_race import (  # noqa: E402
    kept_tokens,
    main,
    paired_gain,
    read_design,
    rows,
    tokens_in_equal_seconds,
)
from fidelity_records import Recipe, Record, append  # noqa: E402

RECIPE = Recipe(scale="1M", tokens=1000, batch_tokens=10)


def record(design: str, seed: int, bits: float, cpu_s: float = 10.0) -> Record:
    return Record(
        design=design,
        digest=f"digest of {design}",
        recipe=RECIPE,
        seed=seed,
        status="ok",
        reason="",
        bits_per_byte=bits,
        stderr=None,
        parameters=1_000_000,
        tokens=RECIPE.tokens,
        curve=(),
        cpu_s=cpu_s,
        train_s=cpu_s,
        wall_s=cpu_s,
        corpus="c",
        machine="m",
        versions={},
    )


def test_gains_are_paired_by_seed() -> None:
    """Seeds that differ by ten percent, a rival that is worse by 2 % each time: no width at all."""
    rival = {1: 2.0, 2: 2.2, 3: 2.4, 9: 1.0}
    gain = paired_gain({seed: 0.98 * bits for seed, bits in rival.items() if seed != 9}, rival)
    assert (gain.mean, gain.low, gain.high) == pytest.approx((2.0, 2.0, 2.0))
    assert gain.n == 3


def test_the_interval_is_that_of_student() -> None:
    gain = paired_gain({1: 0.99, 2: 0.97}, {1: 1.0, 2: 1.0})
    # Gains of 1 and 3: standard error 1, and 12.706 of them either way with one degree of freedom.
    assert (gain.low, gain.mean, gain.high) == pytest.approx(
        (2 - 12.706, 2.0, 2 + 12.706), abs=1e-3
    )


def test_one_seed_has_no_interval() -> None:
    gain = paired_gain({1: 0.9}, {1: 1.0})
    assert (gain.low, gain.high) == (-math.inf, math.inf)
    assert "no interval" in str(gain)
    with pytest.raises(ValueError, match="no seed"):
        paired_gain({1: 0.9}, {2: 1.0})


def test_equal_seconds_are_those_of_the_best_seed() -> None:
    known = [
        record("winner", 1, 1.8, cpu_s=5.0),
        record("gpt", 1, 2.2, cpu_s=4.0),
        record("mamba2", 1, 2.0, cpu_s=8.0),
        record("mamba2", 2, 2.0, cpu_s=12.0),
    ]
    tokens = tokens_in_equal_seconds(known, RECIPE)
    assert tokens == {"digest of winner": 2000, "digest of gpt": 2500, "digest of mamba2": 1000}
    with pytest.raises(InputError, match="no seed"):
        tokens_in_equal_seconds(known[:1], RECIPE)


def test_the_table_compares_the_discovery_with_the_others() -> None:
    pairs = [("gpt", 1.0), ("winner", 0.95)]
    found = rows([record(name, seed, bits) for seed in (1, 2) for name, bits in pairs])
    assert len(found) == 4
    assert "+5.00 %" in found[3]
    assert "%" not in found[2].replace("% gain", "")


def test_designs_are_names_and_files(tmp_path: Path) -> None:
    file = tmp_path / "own.json"
    file.write_text(json.dumps(library.seed("gpt").to_json()))
    assert read_design("gpt")[1].digest == read_design(str(file))[1].digest
    for wrong in ("gtp", str(tmp_path / "none.json")):
        with pytest.raises(InputError):
            read_design(wrong)


def test_what_is_recorded_is_printed_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="nothing was recorded"):
        main(["table", str(tmp_path)])
    for seed in (1, 2):
        append(tmp_path / "tokens.jsonl", record("winner", seed, 0.9))
        append(tmp_path / "tokens.jsonl", record("gpt", seed, 1.0))
    main(["table", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "1M, equal tokens" in printed
    assert "+10.00 %" in printed
    assert "seconds" not in printed


def test_shipped_records_print(capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (BENCH.parent / "discoveries").glob("*/"):
        main(["table", str(folder)])
        assert "seeds)" in capsys.readouterr().out


def test_a_design_keeps_the_tokens_of_its_first_training_at_equal_seconds(tmp_path) -> None:
    file = tmp_path / "seconds.jsonl"
    for tokens, seed in ((1500, 1), (1600, 2)):
        recipe = RECIPE.model_copy(update={"tokens": tokens})
        append(file, record("gpt", seed, 2.0).model_copy(update={"recipe": recipe}))
    other = RECIPE.model_copy(update={"tokens": 9, "scale": "4M"})
    append(file, record("mamba2", 1, 2.0).model_copy(update={"recipe": other}))
    assert kept_tokens(file, RECIPE) == {"digest of gpt": 1500}


def test_the_picture_has_a_dot_for_each_training_the_better_ones_further_left(tmp_path) -> None:
    for file, bits in (("tokens", 2.0), ("seconds", 1.9)):
        for seed in (1, 2, 3):
            append(tmp_path / f"{file}.jsonl", record("mamba2", seed, bits + 0.2 + seed / 100))
            append(tmp_path / f"{file}.jsonl", record("found", seed, bits + seed / 100))
    drawn = tmp_path / "found.svg"
    draw([str(tmp_path), str(drawn), "--label", "found=design <7>"])
    root = ElementTree.fromstring(drawn.read_text("utf-8"))
    rows = [
        [float(dot.get("cx", "")) for dot in group if dot.tag.endswith("circle")]
        for group in root.iter()
        if group.tag.endswith("}g")
    ]
    assert [len(dots) for dots in rows] == [3, 3, 3, 3]
    assert max(rows[0]) < min(rows[1]) < max(rows[1]) < min(rows[2])
    assert "design <7>" in {text.text for text in root.iter()}


def test_a_picture_of_nothing_is_refused(tmp_path) -> None:
    with pytest.raises(SystemExit, match="nothing was recorded at 4M"):
        draw([str(tmp_path), str(tmp_path / "none.svg"), "--scale", "4M"])
