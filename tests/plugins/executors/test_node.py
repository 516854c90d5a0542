"""The node's side of a cluster executor: one job in the sandbox here, or what is wrong here."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import commands
import pytest

from genesys_engine.plugins.api import Limits
from genesys_engine.plugins.executors.node import NodeJob, run_once
from genesys_engine.plugins.executors.options import SandboxOptions
from genesys_engine.plugins.executors.terms import Terms, node_name, terms_here
from genesys_engine.plugins.sandbox import isolation_here

JOBS = "genesys_engine.plugins.testing.jobs"
OPTIONS = SandboxOptions(preload=(JOBS,))


def over_the_wire(job: NodeJob) -> NodeJob:
    return NodeJob.from_json(json.loads(json.dumps(job.to_json())))


def test_the_job_of_submit_runs_in_the_nodes_sandbox_and_says_where(tmp_path: Path):
    limits = Limits(30.0, readable=(str(tmp_path),))
    job = over_the_wire(NodeJob.of(f"{JOBS}:echo", {"n": 1}, tmp_path, limits))
    assert job.limits == limits
    outcome = run_once(job, Terms.from_json(terms_here("process").to_json()), OPTIONS)
    assert (outcome.status, outcome.value) == ("ok", {"given": {"n": 1}})
    assert (tmp_path / "left.txt").read_text() == "left"
    assert outcome.facts["node"] == node_name()
    assert outcome.facts["isolation"] == isolation_here().level


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"versions": {"Python": "3.99"}}, "3.99"),
        ({"versions": {"torch": "2.0.1"}}, "torch"),
        ({"versions": {"engine code": "0"}}, "engine code"),
        ({"versions": {"genesys-engine": "99"}}, "genesys-engine"),
    ],
)
def test_another_version_is_the_nodes_fault_and_no_job_runs(tmp_path, changed, named):
    terms = dataclasses.replace(terms_here("process"), **changed)
    outcome = run_once(NodeJob.of(f"{JOBS}:echo", {}, tmp_path, Limits()), terms, OPTIONS)
    assert outcome.status == "infrastructure"
    assert node_name() in outcome.reason
    assert named in outcome.reason
    assert not list(tmp_path.iterdir())


def test_a_level_that_this_node_does_not_reach_is_its_fault(tmp_path):
    weak = SandboxOptions(preload=(JOBS,), isolation="process")
    job = NodeJob.of(f"{JOBS}:echo", {}, tmp_path, Limits())
    outcome = run_once(job, terms_here("standard"), weak)
    assert outcome.status == "infrastructure"
    assert "standard" in outcome.reason
    assert node_name() in outcome.reason
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_here_is_named(tmp_path):
    lost = tmp_path / "corpus" / "train.bin"
    job = NodeJob.of(f"{JOBS}:echo", {}, tmp_path, Limits(readable=(str(lost),)))
    outcome = run_once(job, terms_here("process"), OPTIONS)
    assert outcome.status == "infrastructure"
    assert str(lost) in outcome.reason


def test_a_plugin_that_is_missing_or_another_one_is_named_before_the_job_runs(
    tmp_path, monkeypatch
):
    (tmp_path / "lent_trainer.py").write_text("class Trainer: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    payload = {"trainer": {"target": "lent_trainer:Trainer", "options": {}}}
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    sent = NodeJob.of(f"{JOBS}:echo", payload, scratch, Limits(30.0))
    assert list(sent.code) == ["lent_trainer"]
    terms = terms_here("process")
    assert run_once(sent, terms, OPTIONS).status == "ok"
    (tmp_path / "lent_trainer.py").write_text("class Trainer: other = 1\n")
    other = run_once(sent, terms, OPTIONS)
    (tmp_path / "lent_trainer.py").unlink()
    gone = run_once(sent, terms, OPTIONS)
    for outcome, word in ((other, "another version"), (gone, "missing")):
        assert outcome.status == "infrastructure"
        assert "lent_trainer" in outcome.reason
        assert word in outcome.reason
        assert node_name() in outcome.reason


def test_a_checkout_and_its_copy_have_the_same_code(tmp_path):
    """A checkout holds links to its folders, an installation the folders themselves."""
    import shutil

    import genesys_engine

    shutil.copytree(Path(genesys_engine.__file__).parent, tmp_path / "genesys_engine")
    code = (
        "from genesys_engine.plugins.executors.terms import versions_here\n"
        "print(versions_here()['engine code'])"
    )
    asked = commands.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"],
        check=True,
    )
    assert asked.stdout.strip() == terms_here("process").versions["engine code"]


ON_A_FULL_DISK = """
import json, sys
from pathlib import Path
from genesys_engine.plugins.api import Limits
from genesys_engine.plugins.executors.node import NodeJob, run_once
from genesys_engine.plugins.executors.options import SandboxOptions
from genesys_engine.plugins.executors.terms import terms_here
job = NodeJob.of(sys.argv[1] + ":fill", {"bytes": 8 << 20}, Path(sys.argv[2]), Limits(120.0))
outcome = run_once(job, terms_here("process"), SandboxOptions(preload=(sys.argv[1],)))
print(json.dumps([outcome.status, outcome.reason]))
"""


def test_a_full_disk_is_the_nodes_fault_and_named(tmp_path):
    """A tmpfs of a megabyte in a mount namespace of its own."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (util-linux)")
    script = 'mount -t tmpfs -o size=1m tmpfs "$2" || exit 77; exec "$0" -c "$3" "$1" "$2"'
    words = (sys.executable, JOBS, str(tmp_path), ON_A_FULL_DISK)
    ran = commands.run(["unshare", "-Urm", "sh", "-c", script, *words])
    if "unshare failed" in ran.stderr or ran.returncode == 77:
        pytest.skip(f"no mount namespace here: {ran.stderr.strip()}")
    status, reason = json.loads(ran.stdout)
    assert status == "infrastructure"
    assert reason.startswith(f"node {node_name()}: ")
    assert "No space left" in reason
