"""Every command and code block of the tutorials does what its page says.

docs/write-a-plugin.md has a test of its own (tests/plugins/test_docs_plugin.py): it installs.
"""

import re
import shutil
from pathlib import Path

import pytest
from doc_blocks import DocsError, Walk, blocks
from engine_process import write_text
from sample_run import make_run

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TUTORIALS = ("start.md", "runs.md", "own-text.md", "audit-a-block.md", "gpu.md", "completion.md")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout's experiments, some texts of a reader's own, and a finished run."""
    (tmp_path / "experiments").mkdir()
    shutil.copy(ROOT / "experiments/quickstart.toml", tmp_path / "experiments")
    (tmp_path / "my/texts").mkdir(parents=True)
    write_text(tmp_path / "my/texts", 2_000_000)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS)
def test_a_tutorial_does_what_it_says(folder: Path, page: str) -> None:
    """What trains is left out here, and a finished run stands in its place."""
    make_run(folder / "runs/quickstart")
    assert Walk(folder).follow(DOCS / page) > 0


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", ["start.md", "runs.md"])
def test_what_trains_does_too(folder: Path, page: str) -> None:
    if page == "runs.md":
        make_run(folder / "runs/quickstart")
    assert Walk(folder, exhaustive=True, timeout_s=900).follow(DOCS / page) > 0


# --- the reader itself: what a page says wrongly is seen ---


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("```bash\ngenesys-engine validat x.toml\n```\n", "page.md:1: .*validat"),
        ("```bash\ntrue\nfalse\ntrue\n```\n", "exit code 1 in place of 0"),
        ("```bash\nfalse | true\n```\n", "exit code 1"),
        ("<!-- run: exit 2 -->\n```bash\ntrue\n```\n", "exit code 0 in place of 2"),
        ("```console\n$ echo a\nb\n```\n", "another output"),
        ("```console\n$ echo a; echo b\na\n```\n", "another output"),
        ("```python\nimport nothing_of_this_name\n```\n", "exit code 1"),
        ("```toml\n[population]\nsedes = []\n```\n", "sedes"),
        ('```json\n{"a": }\n```\n', "page.md:1"),
        ("```yaml\na: [\n```\n", "page.md:1"),
        ("```ruby\nputs 1\n```\n", "language 'ruby'"),
        ("```\ngenesys-engine run\n```\n", "language ''"),
        ("<!-- run: skip -->\n```bash\nfalse\n```\n", "incomplete comment"),
        ("<!-- run: never, since -->\n```bash\nfalse\n```\n", "incomplete comment"),
        ("<!-- run: skip, why -->\ntext\n```bash\ntrue\n```\n", "above no block"),
        ("1. a list\n\n    ```bash\n    false\n    ```\n```bash\nfalse\n", "not closed"),
    ],
)
def test_a_planted_fault_is_found(tmp_path: Path, text: str, fault: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(DocsError, match=re.compile(fault, re.S)):
        Walk(tmp_path).follow(page)


def test_files_are_written_outputs_are_compared_and_skips_are_skipped(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "`a/b.txt`\n\n```text\nhello\n```\n\n"
        "```console\n$ cat a/b.txt\nhello\n$ echo one; echo two; echo three\n...\nthree\n```\n"
        "<!-- run: skip, it takes a week -->\n```bash\nfalse\n```\n"
        "<!-- run: exhaustive, >c.txt -->\n```bash\necho cut\n```\n"
        "```bash\ntrue    # a comment\n```\n"
    )
    assert Walk(tmp_path).follow(page) == 3
    assert not (tmp_path / "c.txt").exists()
    assert Walk(tmp_path, exhaustive=True).follow(page) == 4


@pytest.mark.parametrize("page", [*TUTORIALS, "write-a-plugin.md"])
def test_little_is_skipped(page: str) -> None:
    """Each skip has its reason, and most blocks of a tutorial are run."""
    found = [block for block in blocks(DOCS / page) if not block.file]
    assert sum(block.word == "skip" for block in found) <= len(found) / 2
