"""Fixtures of the attacks on the sandbox."""

import pytest
from sandbox_support import LIMITS, Victims, assert_nothing_lives

from genesys_engine.plugins.sandbox import Limits
from genesys_engine.plugins.sandbox.scratch import remove


@pytest.fixture
def victims(tmp_path):
    victims = Victims(tmp_path)
    yield victims
    remove(tmp_path / "scratch")  # deeper than pytest's own tidying can follow
    for one in victims.sockets:
        one.close()


@pytest.fixture
def attack(host, victims, tmp_path):
    """Run one attack on the module's host: nothing is harmed, nothing lives, the next job runs."""

    def attack(name, *, module="sandbox_attacks", host=host, **limits):
        scratch = tmp_path / "scratch" / "scratch"
        corpus = str(victims.folder / "corpus")
        limits = Limits(**LIMITS | {"readable": (corpus,)} | limits)
        target = f"{module}:{name}"
        outcome = host.submit(target, victims.payload(), scratch, limits).result(250)
        assert_nothing_lives(host.template_pid)
        victims.assert_unharmed()
        after = host.submit("sandbox_jobs:empty", {}, tmp_path / "scratch/after", Limits())
        assert after.result(250).status == "ok"
        return outcome

    return attack
