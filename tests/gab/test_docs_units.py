"""docs/units.md: its unit is a unit, its tree composes and passes, its lists are complete."""

import re
from pathlib import Path

import pytest

from genesys_engine.gab.checks.report import ADVICE, CheckReport
from genesys_engine.gab.errors import UnitError
from genesys_engine.gab.interfaces import INTERFACES
from genesys_engine.plugins import api
from genesys_engine.plugins.auditor.here import check_block

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "units.md").read_text(encoding="utf-8")
SOURCE, SCRIPT = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)


@pytest.fixture(scope="module")
def tree() -> api.GABTree:
    names: dict[str, object] = {"source": SOURCE, "print": lambda text: None}
    exec(SCRIPT, names)
    grown = names["tree"]
    assert isinstance(grown, api.GABTree)
    return grown


def test_the_unit_keeps_the_contract() -> None:
    unit = api.parse_unit(SOURCE)
    assert (unit.name, unit.interface) == ("EchoMLP", "channel_mixer")
    assert (unit.inputs, unit.outputs) == (("echo",), ("echo",))
    with pytest.raises(UnitError, match="without declaring it"):
        api.parse_unit(SOURCE.replace('outputs = ("echo",)', "outputs = ()"))


def test_the_picture_of_the_tree_is_current(tree: api.GABTree) -> None:
    assert f"```\n{tree.describe()}\n```" in PAGE


def check(tree: api.GABTree) -> CheckReport:
    return check_block(api.compose(tree), vocab_size=512, seed=1, scales=["0.2M"])


def test_the_block_passes_every_check(tree: api.GABTree) -> None:
    report = check(tree)
    assert report.passed
    assert report.findings == ()
    assert "fingerprint" in report.measurements


def test_what_the_page_forbids_is_found() -> None:
    everywhere = SOURCE.replace(" if index > 0 else None", "").replace(
        'X = X + self.share * Z["echo"]',
        'X = X + self.share * Z.get("echo", 0.0)',
    )
    gpt = api.library.seed("gpt")
    norm = api.grow(api.library.unit("rms_norm"))
    mlp = api.grow(api.parse_unit(everywhere), {"norm": norm})
    report = check(gpt.replace(gpt.children(0)["mlp"], mlp))
    assert "gradient.partial" in {found.code for found in report.findings}


def rows(heading: str) -> list[str]:
    """Return the first cells of the table whose first column has this heading."""
    table = re.search(rf"^\| {heading} \|.*\n\|---.*\n((?:\|.*\n)+)", PAGE, re.M)
    assert table is not None
    return re.findall(r"^\| `([\w.]+)` \|", table[1], re.M)


# What only the full audit says, and what stands in the text below the table.
BEYOND_A_RUN = {
    *("static.no_class", "static.constructor", "static.forward", "static.unused"),
    *("function.same", "cost.loop", "cost.flops", "cost.memory", "cost.slow"),
    *("training.flat", "training.slow", "training.too_good"),
}


def test_the_finding_codes_are_those_of_the_catalogue() -> None:
    told = [code for code in ADVICE if code not in BEYOND_A_RUN and not code.startswith("check.")]
    assert rows("code") == told
    assert all(f"`{code}`" in PAGE for code in ADVICE if code.startswith("check."))
    assert set(ADVICE) > BEYOND_A_RUN
    assert "(auditor.md)" in PAGE


def test_the_interfaces_are_those_of_the_library() -> None:
    assert rows("interface") == list(INTERFACES)
