"""What a checker promises."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from genesys_engine.gab import library
from genesys_engine.gab.compose import compose
from genesys_engine.plugins.api import Finding, GABTree
from genesys_engine.plugins.checkers import check_subject
from genesys_engine.plugins.testing.contract import Contract, fresh_process

FIT = {"d_model": 64, "n_blocks": 2, "context": 128, "vocab_size": 512, "parameters": 200_000}

_ELSEWHERE = """
import json, sys
from dataclasses import asdict
from genesys_engine.plugins.auditor.candidate import here
from genesys_engine.plugins.checkers import check_subject
from genesys_engine.plugins.targets import build
given = json.load(sys.stdin)
checker, found = build(given["target"], given["options"]), []
for source in given["sources"]:
    subject = check_subject(source, 1, {"0.2M": given["fit"]}, here(source, form="plain"))
    found.append([asdict(finding) for finding in checker.check(subject)])
print(json.dumps(found))
"""


class CheckerContract(Contract):
    """Passes what is sound, says the same every time, and speaks JSON."""

    kind = "checker"

    def sound(self) -> Sequence[GABTree]:
        """Return designs that must pass."""
        return [library.seed("gpt"), library.seed("retnet")]

    def refused(self) -> Sequence[GABTree]:
        """Return designs that must not pass; override it."""
        return []

    def findings(self, tree: GABTree) -> list[Finding]:
        """Return what the checker finds; runs the block's code here."""
        from genesys_engine.plugins.auditor.candidate import here  # imports torch

        source = compose(tree)
        subject = check_subject(source, 1, {"0.2M": FIT}, here(source, form="plain"))
        return list(self.create().check(subject))

    def test_sound_designs_pass(self) -> None:
        """No finding of severity "error"."""
        for tree in self.sound():
            assert [f for f in self.findings(tree) if f.severity == "error"] == []

    def test_others_are_refused_with_advice(self) -> None:
        """At least one error; every finding says what to change and has a stable code."""
        for tree in self.refused():
            found = self.findings(tree)
            assert any(finding.severity == "error" for finding in found)
            for finding in found:
                assert finding.advice.strip()
                assert finding.code.replace(".", "").replace("_", "").isalnum()
                json.dumps(asdict(finding), allow_nan=False)

    def test_findings_are_the_same_in_another_process(self) -> None:
        """All chance comes from `subject.seed`."""
        trees = [*self.sound(), *self.refused()]
        here: list[Any] = [[asdict(f) for f in self.findings(tree)] for tree in trees]
        sources = [compose(tree) for tree in trees]
        given = {**self.payload(), "sources": sources, "fit": FIT}
        assert fresh_process(_ELSEWHERE, given) == json.loads(json.dumps(here))
