"""`genesys-engine check` from the command line, with a real worker where one is needed."""

import json
from pathlib import Path

import pytest
from sample_run import make_run

from genesys_engine.engine.check import audit
from genesys_engine.engine.cli import main
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab import library
from genesys_engine.gab.compose import compose
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.executors.process import ProcessExecutor, ProcessOptions

ZOO = Path(__file__).parents[2] / "zoo"
GOOD = ZOO / "good/causal_attention.py"


@pytest.fixture
def ask(capsys):
    def call(*arguments, code=0):
        assert main(["check", *map(str, arguments)]) == code
        return capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def executor():
    executor = ProcessExecutor(ProcessOptions(preload=audit.PRELOAD), workers=2)
    yield executor
    executor.close()


def audited(executor, source, **order):
    target = audit.Target("x.py", source)
    return audit.audit(target, executor, level="fast", **order).report


# --- the command ---


def test_a_good_block_passes_with_its_measurements(ask):
    text = ask(GOOD, "--d-model", 64).out
    assert text.startswith(f"{GOOD}: passed\n\nMeasured\n")
    assert "the last output reaches 127 tokens back" in text
    assert "nats per byte" in text


def test_a_bad_block_fails_and_json_holds_what_is_documented(ask):
    bad = ZOO / "bad/causality.leak.mask_off_by_one.py"
    data = json.loads(ask(bad, "--fast", "--json", code=1).out)["data"]
    assert set(data) == {
        *("target", "level", "verdict", "findings", "measurements"),
        *("machine", "sandbox", "versions"),
    }
    (found,) = data["findings"]
    assert (data["verdict"], found["code"], found["unit"]) == (
        "failed",
        "causality.leak",
        "Mixer",
    )
    assert set(data["versions"]) == {"genesys-engine", "python", "torch"}
    assert data["sandbox"]["measures"]["process"] is True


def test_a_class_of_another_name(ask, tmp_path):
    file = tmp_path / "block.py"
    file.write_text(GOOD.read_text().replace("class Block", "class Layer"))
    assert "passed" in ask(file, "--fast").out  # the only module that no other one uses
    assert "passed" in ask(file, "--fast", "--class", "Layer").out
    assert "static.no_class" in ask(file, "--fast", "--class", "Block", code=1).out


# --- what PATH may be ---


def test_a_tree_in_json_is_composed(tmp_path):
    file = tmp_path / "tree.json"
    file.write_text(json.dumps(library.seed("gpt").to_json()))
    assert audit.find_target(str(file)).source == compose(library.seed("gpt"))


def test_a_tree_that_breaks_its_contract_is_refused_with_its_finding(ask, tmp_path):
    data = library.seed("gpt").to_json()
    name = data["root"]["unit"]
    file = tmp_path / "tree.json"
    broken = data["units"][name].replace("def forward(self, X, **Z)", "def forward(self, X)")
    file.write_text(json.dumps({**data, "units": {**data["units"], name: broken}}))
    text = ask(file, code=1).out
    assert "error contract.forward at line" in text
    assert "Fix: write `def forward(self, X, **Z):`" in text
    slot = next(iter(data["root"]["children"]))
    data["root"]["children"] = {slot: data["root"]["children"][slot]}
    file.write_text(json.dumps(data))
    assert "contract.tree" in ask(file, code=1).out


def test_a_design_of_a_run_is_compared_with_its_parents(tmp_path):
    run = make_run(tmp_path / "run")
    with Store.open(run) as store:
        child = next(row for row in store.designs() if row.parents)
        prints = {f"design {p}": store.report(p).measurements.fingerprint for p in child.parents}
    target = audit.find_target(f"{run}:{child.id}")
    assert "class Block" in target.source
    assert dict(target.parents) == {k: v for k, v in prints.items() if v}


# --- bad input: one sentence, and exit 1 or 2 ---


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("missing.py", None, "no such file"),
        ("folder", "folder", "not a file"),
        ("latin.py", b"x = 1\ny = '\xe9'\n", "latin.py:2: not UTF-8 text"),
        ("large.py", b"#" * (2 << 20), "larger than 1 MiB"),
        ("broken.json", b'{\n  "format": 1,\n  oops}', "broken.json:3: not JSON"),
    ],
)
def test_unreadable_input_is_told_in_one_sentence(ask, tmp_path, name, data, message):
    path = tmp_path / name
    if data == "folder":
        path.mkdir()
    elif data is not None:
        path.write_bytes(data)
    told = ask(path, code=2)
    assert message in told.err
    assert told.err.count("genesys-engine:") == 1
    assert told.out == ""


def test_a_design_may_stand_behind_its_run_and_a_seed_go_by_its_name(tmp_path):
    run = make_run(tmp_path / "run")
    found = {
        audit.find_target(*how).source
        for how in ((f"{run}:1",), (f"{run}:mamba2",), (str(run), "1"), (str(run), "mamba2"))
    }
    assert len(found) == 1
    with pytest.raises(InputError, match="no design 'manba2'") as caught:
        audit.find_target(str(run), "manba2")
    assert "did you mean 'mamba2'" in (caught.value.hint or "")
    with pytest.raises(InputError, match="no run here"):
        audit.find_target(str(tmp_path / "block.py"), "1")


def test_wrong_options_and_designs_are_usage(ask, tmp_path):
    ask(GOOD, "--d-model", 100, code=2)
    ask(GOOD, "--layers", 0, code=2)
    run = make_run(tmp_path / "run")
    assert "999" in ask(f"{run}:999", code=2).err
    with pytest.raises(InputError, match="no such file"):
        audit.find_target(f"{tmp_path}/nowhere:3")


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("from torch", "import einops_of_another_name\nfrom torch", "static.import"),
        ("from torch import nn", "from torch import nn, nothing", "load.error"),
        ("nn.Linear(width, 3 * width, ", "nn.Linear(width, None, ", "build.error"),
        ("class Mixer", "raise RuntimeError('no')\nclass Mixer", "load.error"),
    ],
)
def test_a_block_that_cannot_be_built_is_told_with_its_line(executor, old, new, code):
    source = GOOD.read_text().replace(old, new, 1)
    report = audited(executor, source)
    (found,) = report.findings
    assert found.code == code
    assert found.line == source[: source.index(new.split("\n")[0])].count("\n") + 1


def test_a_finding_does_not_tell_where_python_is_installed(executor):
    source = GOOD.read_text().replace("from torch import nn", "from torch import nn, nothing", 1)
    (found,) = audited(executor, source).findings
    assert found.message.endswith("from 'torch' (torch/__init__.py)")


def test_a_package_that_is_not_installed_is_told_with_its_line(executor):
    source = GOOD.read_text().replace("from torch import nn", "import opt_einsum.no_such_part", 1)
    (found,) = audited(executor, source).findings
    assert (found.code, found.line) == ("load.error", 4)
    assert "opt_einsum" in found.message


def test_flex_attention_is_a_limit_of_the_machine_in_a_cold_process_too(ask):
    corpus = Path(__file__).parents[3] / "experiments/bench/audit_corpus/defective"
    file = corpus / "machine.unsupported.flex_attention.py"
    assert "machine.unsupported" in ask(file, "--fast", code=1).out
