"""What every test needs, and the order of the files."""

import signal
import sys

import pytest

UNTOUCHED = "genesys_engine.plugins.auditor.untouched"


if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # by nohup, which commands would inherit
    signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(autouse=True)
def as_in_a_new_process() -> None:
    """Let checks in this process note torch's classes anew: imports of other tests change them."""
    if UNTOUCHED in sys.modules:
        sys.modules[UNTOUCHED].remember.cache_clear()


@pytest.fixture(scope="module")
def selected(request):
    """Return the values of a parameter of this module's tests, of those alone that will run."""

    def values(name):
        tests = (test for test in request.session.items if test.path == request.path)
        found = [test.callspec.params.get(name) for test in tests if hasattr(test, "callspec")]
        return list(dict.fromkeys(value for value in found if value is not None))

    return values


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Begin with the files that may take longest, then those that train, so that no worker is left
    with one of them at the end."""
    weights = {}
    for test in items:
        timeout = test.get_closest_marker("timeout")
        longest = timeout.args[0] if timeout else 0
        weight = (longest, test.get_closest_marker("slow") is not None)
        weights[test.path] = max(weights.get(test.path, weight), weight)
    items.sort(key=lambda test: weights[test.path], reverse=True)
