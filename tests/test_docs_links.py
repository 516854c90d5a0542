"""The pages for readers: what they link to exists, and the commands they name are commands."""

import re
from pathlib import Path

import pytest

from genesys_engine.engine.cli.app import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    inside = [link for link in links if "://" not in link]
    assert [link for link in inside if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    code = re.findall(r"^```\w*\n(.*?)^```$|`([^`]+)`", text, re.M | re.S)
    named = {
        name
        for block in map("".join, code)
        for name in re.findall(r"^genesys-engine\s+([a-z]+)", block, re.M)
    }
    assert named <= set(COMMANDS)


def test_files_named_in_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:experiments|plugins|docs|gab|engine)/[\w/.-]+)`", text))
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
    assert "experiments/quickstart.toml" in text
