"""The wheel: everything that runs is in it, and it runs from anywhere without the checkout."""

import os
import shutil
import sys
import zipfile
from pathlib import Path

import commands
import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("engine", "gab", "operators", "plugins")
BESIDE = ("genesys_engine", "pyproject.toml", "README.md", "LICENSE")


def build(folder: Path) -> Path:
    """Return a wheel of a copy of the sources: setuptools leaves its traces beside them."""
    source = folder / "source"
    source.mkdir()
    for name in (*FOLDERS, *BESIDE):
        if (ROOT / name).is_dir():
            unwanted = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, source / name)
    (source / "experiments").mkdir()  # the templates of `init` are links to them
    for file in (ROOT / "experiments").glob("*.toml"):
        shutil.copy(file, source / "experiments")
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    (wheel,) = folder.glob("genesys_engine-*.whl")
    return wheel


def pip(command: str, *arguments: str) -> None:
    run = [sys.executable, "-m", "pip", command, "--quiet", "--no-index", "--no-deps", *arguments]
    done = commands.run(run, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel: Path) -> Path:
    target = wheel.parent / "site"
    pip("install", "--target", str(target), str(wheel))
    return target


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {f"genesys_engine/{p.name}" for p in (ROOT / "genesys_engine").glob("*.*")}
    for folder in FOLDERS:
        files = (path for path in (ROOT / folder).rglob("*") if path.is_file())
        wanted |= {
            f"genesys_engine/{path.relative_to(ROOT)}"
            for path in files
            if "__pycache__" not in path.parts
        }
    assert packed == wanted
    kinds = {Path(name).suffix for name in packed} | {Path(name).name for name in packed}
    assert kinds >= {".py", ".j2", ".css", ".js", "py.typed"}
    assert any(name.startswith("genesys_engine/gab/library/units/") for name in packed)


def test_the_wheel_names_its_command_and_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = {n.partition(".dist-info/")[2]: n for n in archive.namelist() if ".dist-info/" in n}
        points = archive.read(info["entry_points.txt"]).decode()
        metadata = archive.read(info["METADATA"]).decode()
    assert "genesys-engine = genesys_engine.engine.cli:program" in points
    assert "License-Expression: Apache-2.0" in metadata
    assert any(name.endswith("LICENSE") for name in info)


def test_the_installed_package_works_from_another_folder(site: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        done = commands.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(site)},
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = "import genesys_engine.engine.cli as cli; print(cli.__file__)"
    assert Path(run("-c", where).strip()).is_relative_to(site)
    assert "Evolve language-model blocks" in run("-m", "genesys_engine", "--help")
    quickstart = str(ROOT / "experiments" / "quickstart.toml")
    assert "is valid" in run("-m", "genesys_engine", "validate", quickstart)
    library = "from genesys_engine.plugins import api; print(*api.library.seed_names())"
    assert run("-c", library).split() == ["gpt", "mamba2", "retnet", "rwkv6", "ttt"]
