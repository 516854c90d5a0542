from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from llm_support import Bench

sys.path.append(str(Path(__file__).parents[1]))  # engine_process, which the command line needs


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    opened = Bench(tmp_path)
    yield opened
    opened.close()
