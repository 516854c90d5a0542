"""The benchmark of what a rung predicts: its zoo, its recordings, its statistics."""

import math
import sys
from pathlib import Path

import pytest

from genesys_engine.gab.compose import compose
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.trainers.options import TorchTrainerOptions

BENCH = Path(__file__).parents[2] / "experiments" / "bench"
sys.path.insert(0, str(BENCH))

import fidelity_statistics as statistics  # noqa: E402
from fidelity_records import RECIPES as RECORDED  # noqa: E402
from fidelity_records import Recipe, Record, append, read_records, thinned  # noqa: E402
from fidelity_tables import READINGS, frontier, rates, stops  # noqa: E402
from fidelity_zoo import OPERATED, read_zoo  # noqa: E402
from rung_fidelity import main, trainer_options  # noqa: E402

LONG = Recipe(scale="1M", tokens=196_608, batch_tokens=1024)
RUNG = Recipe(scale="0.2M", tokens=131_072, batch_tokens=512)
PUBLISHED = RUNG.model_copy(update={"recipe": "published"})
RECIPES = {"long": LONG, "rung": RUNG, "rung published": PUBLISHED}


def record(design: str, recipe: Recipe, bits: float | None, seed: int = 0) -> Record:
    curve = tuple((recipe.tokens * at // 8, 7.0 - at / 8 * (5 - (bits or 3))) for at in range(1, 9))
    return Record(
        design=design,
        digest=f"digest of {design}",
        recipe=recipe,
        seed=seed,
        status="failed" if bits is None else "ok",
        reason="",
        bits_per_byte=bits,
        stderr=None,
        parameters=200_000,
        tokens=recipe.tokens,
        curve=() if bits is None else curve,
        cpu_s=10.0,
        train_s=4.0,
        wall_s=5.0,
        corpus="",
        machine="",
        versions={},
    )


def test_the_zoo_has_24_designs_all_seeds_and_bad_ones():
    zoo = read_zoo()
    assert len(zoo) >= 24
    assert {"gpt", "mamba2", "retnet", "rwkv6", "ttt"} | set(OPERATED) <= set(zoo)
    assert sum(name.startswith("bad_") for name in zoo) >= 3
    assert len({tree.digest for tree in zoo.values()}) == len(zoo)
    for tree in zoo.values():
        compose(tree)


@pytest.mark.parametrize(
    ("text", "where"),
    [('{"format": 1', "a.json"), ("[]", "a.json"), ('{"format": 1, "units": {}, "root": {"unit": '
      '"Gone"}}', "a.json: root"), ("[" * 100_000, "a.json"), ("\udcff", "a.json")],
)  # fmt: skip
def test_a_damaged_design_is_refused_with_its_file(tmp_path, text, where):
    (tmp_path / "a.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError) as refused:
        read_zoo(tmp_path)
    assert refused.value.where == str(tmp_path / where)
    assert refused.value.hint


def test_an_empty_zoo_is_refused(tmp_path):
    with pytest.raises(InputError, match="no designs"):
        read_zoo(tmp_path)


def test_what_was_appended_is_read_again(tmp_path):
    path = tmp_path / "records.jsonl"
    assert read_records(path) == []
    written = [record("gpt", LONG, 2.25), record("gpt", LONG, 2.5, seed=1), record("b", RUNG, None)]
    for each in written:
        append(path, each)
    assert read_records(path) == written


def _lines() -> list[str]:
    return [record(name, LONG, 2.0).model_dump_json() for name in "ab"]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("\n".join(_lines()), 2, "cut"),
        (_lines()[0] + "\n" + _lines()[1][:90] + "\n", 2, "JSON"),
        (_lines()[0] + "\n\n" + _lines()[1] + "\n", 2, "JSON"),
        (_lines()[0].replace('"cpu_s":10.0', '"cpu_s":-1') + "\n", 1, "cpu_s"),
        (_lines()[0].replace('"cpu_s":10.0,', "") + "\n", 1, "cpu_s"),
        (_lines()[0].replace('"bits_per_byte":2.0', '"bits_per_byte":NaN') + "\n", 1, "bits"),
        (_lines()[0].replace("measured", "medieval") + "\n", 1, "recipe"),
        (_lines()[0] + "\n" + _lines()[0] + "\n", 2, "twice"),
        ("\udcff\n", 1, ""),
    ],
)  # fmt: skip
def test_a_damaged_recording_is_refused_with_its_line(tmp_path, text, line, says):
    path = tmp_path / "records.jsonl"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError) as refused:
        read_records(path)
    assert refused.value.where == f"{path}:{line}"
    assert says in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize(
    ("text", "arguments", "says"),
    [
        ('{"design": "gpt"}\n', ["table"], "records.jsonl:1"),
        (_lines()[0] + "\n", ["table"], "1 designs"),
        (_lines()[0] + "\n", ["record", "--designs", "gtp"], "'gtp'"),
        (_lines()[0], ["record", "--designs", "gpt"], "records.jsonl:1"),
    ],
)
def test_the_command_refuses_in_one_message(tmp_path, text, arguments, says):
    path = tmp_path / "records.jsonl"
    path.write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["--file", str(path), *arguments])
    said = str(ended.value.code)
    assert said.startswith("error: ")
    assert says in said
    assert "help: " in said
    assert path.read_text() == text


def test_a_recipe_reaches_the_trainer():
    used = [TorchTrainerOptions(**trainer_options(recipe)) for recipe in (RUNG, PUBLISHED)]
    assert [options.optimizer for options in used] == ["muon", "adamw"]


def test_a_curve_is_thinned_to_means():
    full = [(tokens, float(tokens)) for tokens in range(1, 201)]
    assert thinned(full, 50)[:2] == ((4, 2.5), (8, 6.5))
    assert len(thinned(full, 50)) == 50
    assert thinned(()) == ()


def test_correlations_of_known_rankings():
    long = {name: float(at) for at, name in enumerate("abcdefgh")}
    same = statistics.agreement({name: 2 * at + 1 for name, at in long.items()}, long)
    assert same.n == 8
    assert (same.spearman, same.kendall, same.upper_half) == pytest.approx((1.0, 1.0, 1.0))
    turned = statistics.agreement({name: -at for name, at in long.items()}, long)
    assert (turned.spearman, turned.kendall) == pytest.approx((-1.0, -1.0))
    swapped = {**long, "a": 1.0, "b": 0.0}
    assert statistics.agreement(swapped, long).spearman == pytest.approx(1 - 6 * 2 / (8 * 63))
    assert statistics.agreement({**long, "h": math.inf}, long).spearman == pytest.approx(1.0)
    with pytest.raises(ValueError, match="3 designs"):
        statistics.agreement({name: long[name] for name in "abc"}, long)


def test_an_interval_holds_the_value_and_a_noisy_score_has_a_wide_one():
    long = {str(at): float(at) for at in range(24)}
    noisy = {name: at + 9 * ((7 * int(at)) % 5 - 2) for name, at in long.items()}
    found = statistics.agreement(noisy, long)
    assert found.low < found.spearman < found.high
    assert found.high - found.low > 0.1
    more, low, high = statistics.advantage(long, noisy, long)
    assert more == pytest.approx(1 - found.spearman)
    assert 0 < low <= more <= high


def test_sigma_is_pooled_over_designs_with_several_seeds():
    assert statistics.relative_sigma([[1.0, 1.02], [2.0], [4.0, 4.0]]) == pytest.approx(
        100 * math.sqrt(0.0002 / 1.01**2 / 2)
    )
    assert math.isnan(statistics.relative_sigma([[1.0], [2.0]]))


def test_a_stretch_is_a_mean_between_shares_of_the_tokens():
    curve = [(25, 4.0), (50, 3.0), (75, 2.0), (100, 1.0)]
    assert statistics.stretch(curve, 0.25, 0.75) == 2.5
    assert statistics.stretch(curve, 0.5, 0.6) == math.inf
    assert statistics.stretch((), 0.0, 1.0) == math.inf


def test_an_early_stop_with_the_fitted_margin_ends_no_one_that_climbs():
    final = {str(at): float(at) for at in range(12)}
    early = {name: at + (3.0 if at == 2 else 0.0) for name, at in final.items()}
    margin = statistics.fitted_margin(early, final, 4)
    assert margin == pytest.approx(1.0)  # "2" stands at 5, the bar of the best four at 4
    told = statistics.stopping(early, final, 0.5, 4, margin)
    assert told.wrong == 0.0
    assert 0.0 < told.ended < 8 / 12
    assert told.saved == pytest.approx(told.ended / 2)
    assert statistics.stopping(early, final, 0.5, 4, 0.0).wrong > 0.0
    assert 0.0 < statistics.split_errors(early, final, 1 / 3) < 1.0
    assert statistics.split_errors(final, final, 1 / 3) == 0.0


def _recorded() -> list[Record]:
    found = []
    for at in range(12):
        bits = 2.0 + at / 20
        found += [record(str(at), LONG, bits), record(str(at), PUBLISHED, 3 - (at % 3) / 9)]
        found += [record(str(at), RUNG, bits + 0.1, seed) for seed in range(2)]
        for rate in (0.5, 2.0):
            at_rate = RUNG.model_copy(update={"lr_scale": rate})
            found.append(record(str(at), at_rate, bits + 0.1 + (rate - 1.2) * (at % 2 - 0.5)))
    return found


def test_the_frontier_sets_seconds_against_correlation():
    head, *rows = frontier(_recorded(), RECIPES, "long", "rung published")
    shown = [dict(zip(head, row, strict=True)) for row in rows]
    rung = {(row["result"], row["seeds"]): row for row in shown if row["recipe"] == "rung"}
    assert len(rung) == len(READINGS) + 1
    assert rung["held-out", "1"]["Spearman (95 %)"].startswith("1.00")
    assert rung["held-out", "1"]["CPU s"] == "10.0"
    assert rung["held-out", "2"]["CPU s"] == "20.0"
    assert rung["stopped at 1/4", "1"]["CPU s"] == "2.0"  # 8 of 10 CPU s went into the training
    assert {row["recipe"] for row in shown} == set(RECIPES)


def test_rates_and_stops_are_tables_with_as_many_cells_as_heads():
    by_rate = {str(rate): RUNG.model_copy(update={"lr_scale": rate}) for rate in (0.5, 1.0, 2.0)}
    for rows in (
        list(rates(_recorded(), {**RECIPES, **by_rate}, "rung", "long")),
        list(stops(_recorded(), RECIPES)),
    ):
        assert len(rows) > 4
        assert {len(row) for row in rows} == {len(rows[0])}


def test_what_the_repository_records_is_of_its_zoo():
    records = read_records(BENCH / "fidelity.jsonl")
    zoo = {name: tree.digest for name, tree in read_zoo().items()}
    assert len({each.design for each in records if each.recipe == RECORDED["long"]}) >= 24
    assert all(zoo[each.design] == each.digest for each in records)
    assert {each.recipe for each in records} <= set(RECORDED.values())
    assert len({each.corpus for each in records}) == 1
