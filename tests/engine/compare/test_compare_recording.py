"""A recorded study: the same tables, with nothing trained; and only for the very same study."""

from __future__ import annotations

import json
import lzma
import shutil
from pathlib import Path
from statistics import fmean

import pytest
from recorded_run import Trial
from test_compare_evolution import STUDY

from genesys_engine.engine.compare.observer import StudyObserver
from genesys_engine.engine.compare.reading import read
from genesys_engine.engine.compare.recording import Recording
from genesys_engine.engine.compare.results import FinishedRun, Result
from genesys_engine.engine.compare.series import series_of
from genesys_engine.engine.compare.session import begin, record, study_digest
from genesys_engine.engine.compare.store import RUNS, StudyStore
from genesys_engine.engine.config import load_experiment
from genesys_engine.engine.config.load import read_source
from genesys_engine.engine.run.assembly import load_setup
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab.errors import InputError

ARMS, SEEDS = ("classical", "random_typed"), (1, 2)


def observer(said: list[str]) -> StudyObserver:
    return StudyObserver(lambda arms, done: None, lambda result: None, said.append, lambda: None)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of real runs, whose trainings are answered from a record."""
    folder = tmp_path_factory.mktemp("study") / "study"
    file = folder.with_name("study.toml")
    file.write_text(STUDY)
    experiment = load_experiment(file)
    meta = {
        "name": "tiny", "digest": study_digest(experiment), "versions": {}, "machine": {},
        "experiment": experiment.to_json(),
    }  # fmt: skip
    with StudyStore.create(folder, meta, file.read_bytes()) as store:
        for arm in ARMS:
            for seed in SEEDS:
                own = ("budget.designs=4",)
                selection = "random" if arm == "random_typed" else "quadrant"
                trial = Trial(
                    folder / RUNS / f"{arm}-seed-{seed}", seed=seed, selection=selection,
                    workers=0, finalists=1, sets=own,
                )  # fmt: skip
                trial.folder.parent.mkdir(exist_ok=True)
                trial.go()
                with Store.open(trial.folder) as run:
                    made = series_of(run, experiment.population)
                store.add_result(Result(f"seed-{seed}", arm, made, 1.0))
    return folder


@pytest.fixture(scope="module")
def recording(study: Path) -> Path:
    path = study.with_name("study.jsonl.xz")
    record(study, path, observer([]))
    return path


def again(tmp_path: Path, recording: Path, *sets: str) -> tuple[Path, list[str]]:
    """Begin the study with the recording; return its folder and what was said."""
    file, said = tmp_path / "study.toml", list[str]()
    shutil.copy(recording, tmp_path)
    file.write_text(
        STUDY.replace('study = "evolution"', f'study = "evolution"\nrecording = "{recording.name}"')
    )
    source = read_source(file, sets)
    begin(load_setup(source), source, tmp_path / "again", observer(said))
    return tmp_path / "again", said


def test_recorded_runs_are_taken_and_nothing_is_trained(
    study: Path, recording: Path, tmp_path: Path
) -> None:
    folder, said = again(tmp_path, recording)
    assert not (folder / RUNS).exists()
    assert any("4 runs taken" in line for line in said)
    with StudyStore.open(folder) as store, StudyStore.open(study) as whole:
        assert store.results(FinishedRun) == whole.results(FinishedRun)
    assert read(folder).to_json() == read(study).to_json()


def test_fewer_seeds_take_what_is_recorded(recording: Path, tmp_path: Path) -> None:
    folder, _ = again(tmp_path, recording, "compare.seeds=[2]")
    assert not (folder / RUNS).exists()
    assert [arm["n"] for arm in read(folder).to_json()["arms"]] == [1, 1]  # type: ignore[index,attr-defined]


def test_a_recording_of_other_settings_is_left_alone(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genesys_engine.engine.compare import evolution

    class Begun(Exception):
        """A run was started."""

    def begun(*_: object, **__: object) -> str:
        raise Begun

    monkeypatch.setattr(evolution, "_one_run", begun)
    with pytest.raises(Begun):
        again(tmp_path, recording, "budget.designs=3")


def test_the_recorded_log_bears_out_the_recorded_result(recording: Path) -> None:
    with lzma.open(recording, "rt") as file:
        lines = [json.loads(line) for line in file]
    assert len(lines) == 1 + len(ARMS) * len(SEEDS)
    for line in lines[1:]:
        gains: dict[int, list[float]] = {}
        for kind, payload in line["events"]:
            if kind == "verification.finished" and payload["replicate"] == 0:
                gains.setdefault(payload["design"], []).append(payload["fitness"])
        best = max(map(fmean, gains.values()))
        assert line["made"]["best_so_far"][-1] == pytest.approx(best)


@pytest.mark.parametrize("damage", ["{}\n", "no json\n", '{"digest": "x"}\n{"item": "seed-1"}\n'])
def test_a_damaged_recording_is_named_with_its_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "study.jsonl"
    path.write_text(damage)
    with pytest.raises(InputError, match="damaged") as error:
        Recording(path)
    assert error.value.where == f"{path}:{damage.count(chr(10))}"


def test_a_recording_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such recording"):
        Recording(tmp_path / "gone.jsonl.xz")


def test_a_study_of_implementations_has_no_such_recording(tmp_path: Path) -> None:
    meta = {"experiment": {"compare": {"study": "implementation"}}}
    StudyStore.create(tmp_path / "study", meta, b"").close()
    with pytest.raises(InputError, match="evolution"):
        record(tmp_path / "study", tmp_path / "out.jsonl", observer([]))
