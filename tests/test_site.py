"""The site of the docs: it builds strictly, holds every page, and asks nothing of the network."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import commands
import pytest

from genesys_engine.engine.cli.app import COMMANDS
from genesys_engine.gab.checks.report import ADVICE
from genesys_engine.plugins import api

ROOT = Path(__file__).resolve().parents[1]
GENERATED = {"commands", "finding-codes", "plugin-api", "python-api"}


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    return commands.run(
        [sys.executable, "-m", "mkdocs", "build", "-f", config, "-d", site],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        timeout=280,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"}
    assert {page.parent.name for page in site.glob("*/index.html")} == pages | GENERATED
    assert not list(site.rglob("*.py"))


def test_nothing_is_fetched_from_outside(site: Path) -> None:
    """No script, style, font or picture; links are for the reader."""
    outside = re.compile(
        r"<(?:script|img|iframe|source|link)\b[^>]*?(?:src|href)=[\"']?(?:https?:)?//"
    )
    for page in site.rglob("*.html"):
        assert not outside.search(page.read_text(encoding="utf-8")), page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//", style.read_text(encoding="utf-8")), style
    for page in site.rglob("*.html"):  # drawn by a script that the theme fetches
        assert "language-mermaid" not in page.read_text(encoding="utf-8"), page


def test_the_reference_holds_all_that_there_is(site: Path) -> None:
    commands, codes, names = (
        (site / page / "index.html").read_text(encoding="utf-8")
        for page in ("commands", "finding-codes", "plugin-api")
    )
    assert set(re.findall(r'<h2 id="genesys-engine-([a-z]+)"', commands)) == set(COMMANDS)
    assert "genesys-engine-plugins-new" in commands
    assert re.findall(r'href="\.\./auditor/#([a-z_]+)(?:-warning)?"', codes) == [
        code.replace(".", "") for code in ADVICE
    ]
    assert all(
        f"<code>{name}</code>" in names or f">{name}<" in names for name in ("Operator", "Child")
    )
    assert {"OperatorContext", "GABTree"} <= set(api.__all__)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "text",
    ["[x](no-such-page.md)", "[x](start.md#no-such-heading)", "![x](pictures/none.svg)"],
)
def test_a_dead_link_is_an_error(tmp_path: Path, text: str) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    (tmp_path / "mkdocs.yml").write_text(config.replace("paths: [.]", f"paths: [{ROOT}]"))
    page = tmp_path / "docs/concepts.md"
    page.write_text(page.read_text(encoding="utf-8") + f"\n{text}\n")
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert "concepts.md" in done.stdout + done.stderr
