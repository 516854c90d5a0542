"""A metric that no evaluator gives is refused when the experiment is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from engine_process import here, write_experiment

from genesys_engine.engine.config import ConfigError, load_experiment
from genesys_engine.gab.errors import PluginError
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.registry import Description, Registry


class Mute:
    """An evaluator that does not say which scores it gives."""


class Wrong:
    """One whose answer is of another form."""

    @staticmethod
    def metrics(options: None, corpus: str) -> Sequence[object]:
        return [corpus, 3]


@pytest.fixture
def registry() -> Registry:
    found = PluginHost().registry
    for name, target in (("mute", "Mute"), ("wrong", "Wrong")):
        described = Description("evaluator", name, f"{__name__}:{target}", "", "test", "1")
        found.register(described)
    return found


def read(folder: Path, registry: Registry, text: str, *, tasks: str = '["offline"]') -> None:
    file = folder / "e.toml"
    file.write_text(
        f'{text}\n[[evaluators]]\nuse = "heldout"\n[[evaluators]]\nuse = "lm_eval"\n'
        f"tasks = {tasks}\n"
    )
    load_experiment(file, (), registry)


def refused(folder: Path, registry: Registry, text: str, **more: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        read(folder, registry, text, **more)
    return [(problem.message, problem.hint or "") for problem in caught.value.problems]


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[fitness]\nmetric = "accuracy"',
        '[fitness]\nmetric = ["bits_per_byte", "continuation:acc", "corruption:acc"]',
        '[selection]\nuse = "nsga2"\nobjectives = "quality+continuation:acc+accuracy"',
        '[corpus]\nuse = "english"\n[fitness]\nmetric = "minimal_pairs/participle:acc"',
    ],
)
def test_metrics_that_there_will_be(tmp_path: Path, registry: Registry, text: str) -> None:
    read(tmp_path, registry, text)


@pytest.mark.parametrize(
    ("text", "name", "near"),
    [
        ('[fitness]\nmetric = "bits_per_bite"', "bits_per_bite", "'bits_per_byte'"),
        ('[fitness]\nmetric = ["bits_per_byte", "corupton:acc"]', "corupton:acc", "corruption:acc"),
        ('[fitness]\nmetric = "acuracy"', "acuracy", "'accuracy'"),
        ('[fitness]\nmetric = "minimal_pairs:acc"', "minimal_pairs:acc", "there is"),
        ('[selection]\nuse = "nsga2"\nobjectives = "qualty+speed"', "qualty", "'quality'"),
    ],
)
def test_a_metric_that_nobody_gives_is_told_with_near_names(
    tmp_path: Path, registry: Registry, text: str, name: str, near: str
) -> None:
    ((message, hint),) = refused(tmp_path, registry, text)
    assert message.startswith("no evaluator ")
    assert message.endswith(f" {name!r}")
    assert near in hint


def test_the_place_is_the_line_in_the_file(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(ConfigError, match=r"e\.toml:2:\d+: no evaluator .*'loss'"):
        read(tmp_path, registry, '[fitness]\nmetric = "loss"')


def test_what_files_of_tasks_list_is_known_without_data(tmp_path: Path, registry: Registry) -> None:
    fitness = '[fitness]\nmetric = "{}"'
    for name, tasks in {
        "arc_easy:acc_norm": '["arc_easy"]',
        "mrpc:f1": '["mrpc"]',
        "lambada_openai:perplexity": '["paper"]',
        "accuracy": '["arc_easy"]',
        "blimp:acc": '["blimp"]',
        "blimp/blimp_causative:acc": '["blimp"]',
        "inverse_scaling_mc:anything": '["paper"]',  # a tag: whose it is is not looked up
        "bigbench/hyperbaton:acc": '["bigbench"]',
        "bigbench:acc": '["bigbench/hyperbaton"]',
    }.items():
        read(tmp_path, registry, fitness.format(name), tasks=tasks)
    for name, tasks in {
        "arc_easy:acc_nrom": '["arc_easy"]',
        "accuracy": '["cola"]',
        "blmp:acc": '["blimp"]',
        "blimp:f1": '["blimp"]',
        "bigbench/hyperbaton:acc": '["bigbench/winowhy"]',
    }.items():
        ((message, _),) = refused(tmp_path, registry, fitness.format(name), tasks=tasks)
        assert message.startswith("no evaluator ")
        assert message.endswith(f" {name!r}")


def test_a_folder_of_yaml_says_what_it_scores(tmp_path: Path, registry: Registry) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "shared").write_text("metric_list: [{metric: f1}, {'metric': 'em'}]  # metric: acc\n")
    (own / "one.yaml").write_text("include: shared\ntask: one\n")
    tasks = f'["{own}"]'
    read(tmp_path, registry, '[fitness]\nmetric = ["one:f1", "one:em"]', tasks=tasks)
    ((_, hint),) = refused(tmp_path, registry, '[fitness]\nmetric = "one:acc"', tasks=tasks)
    assert "one:f1" in hint
    (own / "one.yaml").write_text("task: one\nclass: !function code.Task\n")
    read(tmp_path, registry, '[fitness]\nmetric = "one:acc"', tasks=tasks)


def test_bits_per_byte_are_always_needed(tmp_path: Path, registry: Registry) -> None:
    file = tmp_path / "e.toml"
    file.write_text('[fitness]\nmetric = "accuracy"\n[[evaluators]]\nuse = "lm_eval"\n')
    with pytest.raises(ConfigError, match="add the evaluator `heldout`"):
        load_experiment(file, (), registry)


def test_one_that_declares_nothing_is_not_checked(tmp_path: Path, registry: Registry) -> None:
    file = tmp_path / "e.toml"
    file.write_text('[fitness]\nmetric = "mine"\n[[evaluators]]\nuse = "mute"\n')
    assert load_experiment(file, (), registry).fitness.metrics == ("mine",)
    file.write_text('[[evaluators]]\nuse = "wrong"\n')
    with pytest.raises(PluginError, match=r"'wrong' of test 1 .*metrics: .*3"):
        load_experiment(file, (), registry)


@pytest.mark.parametrize("command", ["validate", "run", "calibrate", "compare", "plan"])
def test_every_command_that_begins_refuses_it(tmp_path: Path, command: str) -> None:
    file = write_experiment(tmp_path)
    more = ("--out", tmp_path / "out") if command in ("run", "compare") else ()
    answer = here(command, file, *more, "--set", "fitness.metric=bits_per_bite")
    answer.refused(2, "no evaluator ", "'bits_per_bite'", "did you mean 'bits_per_byte'?")
    assert not (tmp_path / "out").exists()


RUNGS = """
[[ladder.rungs]]
scale = "0.2M"
verifications = 6
[[ladder.rungs]]
scale = "1M"
verifications = 3
[[evaluators]]
use = "heldout"
{heldout}
[[evaluators]]
use = "lm_eval"
rungs = {rungs}
[budget]
designs = 3
"""


def at_rungs(
    folder: Path, registry: Registry, rungs: str, heldout: str = "", more: str = ""
) -> None:
    file = folder / "e.toml"
    file.write_text(more + RUNGS.format(rungs=rungs, heldout=heldout))
    load_experiment(file, (), registry)


def test_an_evaluator_may_be_asked_at_some_rungs(tmp_path: Path, registry: Registry) -> None:
    at_rungs(tmp_path, registry, '["1M"]')
    at_rungs(tmp_path, registry, '["0.2M", "1M"]', more='[fitness]\nmetric = "accuracy"\n')


@pytest.mark.parametrize(
    ("rungs", "more", "told"),
    [
        ('["1N"]', {}, "ladder has no rung '1N'"),
        ('["4M"]', {}, "ladder has no rung '4M'"),
        ("[]", {}, "evaluator 'lm_eval' .* at no rung"),
        ('["1M"]', {"heldout": 'rungs = ["1M"]'}, r"no evaluator .*'bits_per_byte' at 0\.2M"),
        (
            '["1M"]',
            {"more": '[fitness]\nmetric = "corruption:acc"\n'},
            r"no evaluator .*'corruption:acc' at 0\.2M",
        ),
        (
            '["0.2M"]',
            {"more": '[selection]\nuse = "nsga2"\nobjectives = "quality+corruption:acc"\n'},
            "no evaluator .*'corruption:acc' at 1M",
        ),
    ],
)
def test_rungs_that_fit_nothing_are_refused(
    tmp_path: Path, registry: Registry, rungs: str, more: dict[str, str], told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        at_rungs(tmp_path, registry, rungs, **more)
    (problem,) = caught.value.problems
    assert re.search(told, problem.message)
    assert problem.hint
