"""The coordinator of a run stays small: what only workers need is not imported beside it."""

from __future__ import annotations

import sys
from pathlib import Path

import commands

ROOT = Path(__file__).parent.parent.parent
CODE = """
import sys
from pathlib import Path
from genesys_engine.engine.run.assembly import load
load(Path("experiments/quickstart.toml"), ())
heavy = ("torch", "datasets", "lm_eval", "transformers", "litellm", "lancedb", "plotly")
print(*(name for name in heavy if name in sys.modules))
"""


def test_an_experiment_is_loaded_without_anything_heavy() -> None:
    done = commands.run([sys.executable, "-c", CODE], cwd=ROOT, check=True)
    assert done.stdout.strip() == ""
