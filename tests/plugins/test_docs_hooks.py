"""docs/hooks.md names every hook with its exact signature, and nothing that is not there."""

import inspect
import re
from pathlib import Path

from genesys_engine.plugins import api, hookspecs, testing
from genesys_engine.plugins.registry import KINDS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "hooks.md").read_text(encoding="utf-8")


def test_every_hook_has_a_section_with_its_exact_signature() -> None:
    hooks = {n: f for n, f in vars(hookspecs).items() if n.startswith("genesys_")}
    written = {f"{name}{_signature(f)}" for name, f in hooks.items()}
    headings = re.findall(r"^### `(genesys_.+)`$", PAGE, re.M)
    assert sorted(headings) == sorted(written)
    assert set(KINDS.values()) < set(hooks)


def test_every_kind_has_its_protocol_and_its_contract() -> None:
    assert set(re.findall(r"`(\w+Contract)`", PAGE)) == set(testing.__all__)
    assert len(testing.__all__) == len(KINDS)
    named = set(re.findall(r"`api\.(\w+)`", PAGE))
    assert named <= set(api.__all__)
    kinds = {getattr(testing, name).kind for name in testing.__all__}
    assert kinds == set(KINDS)


def test_what_register_takes_is_told() -> None:
    call = re.search(r"^register\((.*)\)$", PAGE, re.M)
    assert call is not None
    told = [part.split("=")[0].strip() for part in call[1].split(",")]
    assert told == [p for p in inspect.signature(api.Register.__call__).parameters if p != "self"]


def _signature(function: object) -> str:
    return str(inspect.signature(function)).replace("'", "")  # type: ignore[arg-type]
