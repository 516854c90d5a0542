"""docs/hooks.md names every hook with its exact signature, and nothing that is not there."""

import inspect
import re
from pathlib import Path
from types import SimpleNamespace

from genesys_engine.plugins import api, hookspecs, testing
from genesys_engine.plugins.registry import KINDS
from genesys_engine.plugins.vetting import vet

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "hooks.md").read_text(encoding="utf-8")


def test_every_hook_has_a_section_with_its_exact_signature() -> None:
    hooks = {n: f for n, f in vars(hookspecs).items() if n.startswith("genesys_")}
    written = {f"{name}{_signature(f)}" for name, f in hooks.items()}
    headings = re.findall(r"^### `(genesys_.+)`$", PAGE, re.M)
    assert sorted(headings) == sorted(written)
    assert set(KINDS.values()) < set(hooks)


def test_every_kind_has_its_protocol_and_its_contract() -> None:
    assert set(re.findall(r"`(\w+Contract)`", PAGE)) == set(testing.__all__)
    named = set(re.findall(r"`api\.(\w+)`", PAGE))
    assert named <= set(api.__all__)
    kinds = {getattr(testing, name).kind for name in testing.__all__}
    assert kinds == set(KINDS)


def test_every_kind_of_event_is_told() -> None:
    kinds = {value for name, value in vars(api.events).items() if name.isupper()}
    table = PAGE[PAGE.index("## Events") :]
    rows = re.findall(r"^\| (`[a-z_., `]+`) \|", table, re.M)
    assert {kind for row in rows for kind in re.findall(r"[a-z]+\.[a-z_]+", row)} == kinds
    assert len(kinds) >= 19


def test_every_decision_and_event_has_an_example_that_is_a_hook() -> None:
    """The examples are vetted as a plugin would be."""
    code = "import json, sys\nfrom pathlib import Path\n"
    code += "from genesys_engine.plugins import api\nPath = lambda name: Text\n"
    code += "class Text:\n    read_text = staticmethod(lambda: '{}')\n"
    examples = re.findall(
        r"^```python\n(.*?)^```$", PAGE[PAGE.index("## Decisions") :], re.M | re.S
    )
    space: dict[str, object] = {}
    exec(code + "\n".join(examples), space)
    plugin = SimpleNamespace(**{n: f for n, f in space.items() if n.startswith("genesys_")})
    vet(plugin)
    registering = {*KINDS.values(), "genesys_commands"}
    assert {n for n in vars(hookspecs) if n.startswith("genesys_")} - registering == set(
        vars(plugin)
    )


def test_what_register_takes_is_told() -> None:
    call = re.search(r"^register\((.*)\)$", PAGE, re.M)
    assert call is not None
    told = [part.split("=")[0].strip() for part in call[1].split(",")]
    assert told == [p for p in inspect.signature(api.Register.__call__).parameters if p != "self"]


def _signature(function: object) -> str:
    return str(inspect.signature(function)).replace("'", "")  # type: ignore[arg-type]
