"""One real worker for the checks of all tests here, and a real server to ask."""

import pytest
from designer_support import RealCheck


@pytest.fixture(scope="session")
def real_check(tmp_path_factory):
    check = RealCheck(tmp_path_factory.mktemp("checks"))
    yield check
    check.executor.close()


@pytest.fixture
def bench(tmp_path):
    from llm_support import Bench

    opened = Bench(tmp_path)
    yield opened
    opened.close()
