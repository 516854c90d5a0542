"""The hook for pre-commit, run by the real pre-commit in a repository of a user."""

import os
import subprocess
import sys
from pathlib import Path

import commands
import pytest

ROOT = Path(__file__).resolve().parents[3]
ZOO = ROOT / "tests/zoo"
CONFIG = """
repos:
  - repo: {hooks}
    rev: {rev}
    hooks:
      - id: genesys-engine-check
        language: system  # the engine that is installed here
"""


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    done = commands.run(["git", *who, *words], cwd=folder, check=True)
    return done.stdout.strip()


@pytest.mark.slow
def test_the_hook_stops_a_commit_with_a_leak(tmp_path: Path) -> None:
    pytest.importorskip("pre_commit", reason="pre-commit is not installed")
    hooks, user = tmp_path / "hooks", tmp_path / "user"
    for folder in (hooks, user):
        folder.mkdir()
        git(folder, "init", "-q")
    (hooks / ".pre-commit-hooks.yaml").write_text((ROOT / ".pre-commit-hooks.yaml").read_text())
    git(hooks, "add", ".")
    git(hooks, "commit", "-qm", "hooks")
    (user / "blocks").mkdir()
    rev = git(hooks, "rev-parse", "HEAD")
    (user / ".pre-commit-config.yaml").write_text(CONFIG.format(hooks=hooks, rev=rev))
    (user / "setup.py").write_text("no block at all, and not looked at\n")
    good, bad = ZOO / "good/causal_attention.py", ZOO / "bad/causality.leak.mask_off_by_one.py"
    (user / "blocks/good.py").write_text(good.read_text())
    (user / "blocks/bad.py").write_text(bad.read_text())
    git(user, "add", ".")

    def commit() -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        env = {**os.environ, "PATH": path, "PRE_COMMIT_HOME": str(tmp_path / "cache")}
        return commands.run(
            [sys.executable, "-m", "pre_commit", "run"],
            cwd=user,
            env=env,
            timeout=200,
        )

    refused = commit()
    assert refused.returncode == 1, refused.stdout + refused.stderr
    assert "blocks/good.py: passed" in refused.stdout
    assert "causality.leak" in refused.stdout
    assert "setup.py" not in refused.stdout
    (user / "blocks/bad.py").unlink()
    git(user, "add", ".")
    assert commit().returncode == 0
