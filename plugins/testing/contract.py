"""What every component promises, whatever its kind: the base of all contract tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from genesys_engine.plugins.host import PluginHost, PluginRecord
from genesys_engine.plugins.registry import Description
from genesys_engine.plugins.sandbox.starting import retried
from genesys_engine.plugins.targets import options_model, read_options
from genesys_engine.plugins.vetting import HEAVY

UNKNOWN = "surely_no_option_of_anybody"

_IMPORT = """
import importlib, json, sys
importlib.import_module(json.load(sys.stdin)["module"])
print(json.dumps([name for name in {heavy!r} if name in sys.modules]))
"""


class Contract:
    """Inherit the contract of your kind, and say what is tested:

    class TestMine(OperatorContract):
        name = "mine"
        options = {"strength": 2}

    The plugin must be installed (`pip install -e .`).
    """

    kind: ClassVar[str]
    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}

    def description(self) -> Description:
        """Return how the component is registered."""
        return installed().registry.get(self.kind, self.name)

    def create(self, **services: Any) -> Any:
        """Return an instance with `options`."""
        return self.description().create(self.options, **services)

    def payload(self) -> dict[str, Any]:
        """Return what a worker process is given of it."""
        model = self._model()
        return {
            "target": self.description().target,
            "options": dict(self.options),
            "model": model and f"{model.__module__}:{model.__qualname__}",
        }

    def test_its_plugin_works(self) -> None:
        """The plugin that brings it is active, and says in a line what it is."""
        described = self.description()
        assert [r.describe() for r in self._records() if r.status != "active"] == []
        assert described.summary.strip()
        assert "\n" not in described.summary

    def test_unknown_options_are_refused(self) -> None:
        """A misspelt key is an error, never ignored."""
        from pydantic import ValidationError

        try:
            read_options(self._model(), {**self.options, UNKNOWN: 1})
        except ValidationError as error:
            refused = str(error)
        else:
            refused = ""
        assert UNKNOWN in refused, "an unknown option was accepted; derive from api.Options"

    def test_options_survive_json(self) -> None:
        """Workers receive options as JSON: they come back as they were."""
        model = self._model()
        read = read_options(model, self.options)
        if read is not None:
            again = read_options(model, json.loads(json.dumps(read.model_dump(mode="json"))))
            assert again == read

    def test_every_option_is_described(self) -> None:
        """`genesys-engine plugins show` prints these sentences."""
        model = self._model()
        fields = model.model_fields if model is not None else {}
        assert [name for name, field in fields.items() if not field.description] == []

    def test_loading_the_plugin_imports_nothing_heavy(self) -> None:
        """Every command loads every plugin: torch and its like are imported when used."""
        for record in self._records():
            module = record.target.partition(":")[0]
            found = fresh_process(_IMPORT.format(heavy=HEAVY), {"module": module})
            assert found == [], f"{module} imports {found}: import inside functions"

    def _model(self) -> Any:
        described = self.description()
        return options_model(described.target, described.options)

    def _records(self) -> list[PluginRecord]:
        mine = self.description().distribution
        return [record for record in installed().records if record.distribution == mine]


@cache
def installed() -> PluginHost:
    """Return the plugins that are installed here."""
    return PluginHost()


def fresh_process(code: str, data: Any, *, hash_seed: int = 1, timeout_s: float = 120.0) -> Any:
    """Run `code` in a new interpreter: `data` as JSON on stdin, JSON in its last line out.

    Another hash seed than this process has shows what follows the order of a set.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONHASHSEED": str(hash_seed),
        "OMP_NUM_THREADS": "1",
    }
    done = retried(
        lambda: subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(data),
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    )
    assert done.returncode == 0, f"it fails in a process of its own:\n{done.stderr[-4000:]}"
    return json.loads(done.stdout.splitlines()[-1])
