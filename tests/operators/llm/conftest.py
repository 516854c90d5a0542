"""One real worker for the checks of all tests here."""

import pytest
from designer_support import RealCheck


@pytest.fixture(scope="session")
def real_check(tmp_path_factory):
    check = RealCheck(tmp_path_factory.mktemp("checks"))
    yield check
    check.executor.close()
