"""A digest of a component's source: it changes with the code and with nothing else."""

from pathlib import Path

import pytest

from genesys_engine.plugins.source_digest import source_digest


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_a_module_alone_is_its_file(site: Path) -> None:
    write(site / "sd_alone.py", "x = 1\n")
    before = source_digest("sd_alone:X")
    write(site / "sd_beside.py", "y = 1\n")
    assert source_digest("sd_alone:X") == before != source_digest("sd_beside:X")
    write(site / "sd_alone.py", "x = 2\n")
    assert source_digest("sd_alone:X") != before


def test_a_package_is_all_that_lies_in_it(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (site, site / "elsewhere"):
        write(folder / "sd_package" / "__init__.py", "")
        write(folder / "sd_package" / "deep" / "__init__.py", "")
        write(folder / "sd_package" / "deep" / "trainer.py", "import sd_package.helper\n")
        write(folder / "sd_package" / "helper.py", "rate = 1\n")
    before = source_digest("sd_package.deep.trainer:Trainer")
    write(site / "sd_package" / "helper.py", "rate = 2\n")
    assert source_digest("sd_package.deep.trainer:Trainer") != before
    monkeypatch.syspath_prepend(site / "elsewhere")
    assert source_digest("sd_package.deep.trainer:Trainer") == before, "where it lies is nothing"


def test_what_others_put_into_a_namespace_does_not_count(site: Path) -> None:
    write(site / "sd_space" / "mine" / "__init__.py", "x = 1\n")
    before = source_digest("sd_space.mine:X")
    write(site / "sd_space" / "theirs" / "__init__.py", "y = 1\n")
    assert source_digest("sd_space.mine:X") == before


def test_without_a_source_it_is_that_of_nothing() -> None:
    nothing = source_digest("sd_is_not_there:X")
    assert nothing == source_digest("sd_is_not_there.at_all:X") == source_digest("sys:X")
    assert nothing != source_digest("json:loads")
