"""The Ray executor on a real cluster of two nodes: jobs, files, losses, refusals."""

import dataclasses
import http.server
import json
import os
import resource
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import commands
import pytest
from engine_process import ask, descendants, digest, engine, started, wait_for, write_experiment
from ray_cluster import TestCluster
from waiting import until

from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins import testing
from genesys_engine.plugins.api import Limits
from genesys_engine.plugins.executors import news
from genesys_engine.plugins.executors import ray as executor_module
from genesys_engine.plugins.executors.ray import RayExecutor
from genesys_engine.plugins.executors.ray_cluster import Cluster, RayOptions
from genesys_engine.plugins.executors.transport import Transport
from genesys_engine.plugins.sandbox import isolation_here

pytestmark = pytest.mark.timeout(900)
JOBS = "genesys_engine.plugins.testing.jobs"
LONG_S = 240.0
THIRD = {"third": 1.0}  # a resource that the head has not


@pytest.fixture(scope="module")
def cluster():
    made = TestCluster(cpus=1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def two_nodes(cluster):
    with cluster.node(1):
        yield cluster


@contextmanager
def opened(cluster, *, workers=1, require="process", **options):
    """Yield an executor, and the list that its news are put into."""
    heard = []
    made = RayExecutor(
        RayOptions(address=cluster.address, preload=(JOBS,), **options),
        workers=workers,
        require=require,
        tell=heard.append,
    )
    try:
        yield made, heard
    finally:
        made.close()


def begun(scratch: Path) -> list[list[int]]:
    """Return the processes, and their parents, of each time that a job has begun."""
    file = scratch / "begun"
    lines = file.read_text().splitlines() if file.exists() else []
    return [list(map(int, line.split())) for line in lines]


class TestContract(testing.ExecutorContract):
    name = "ray"

    @pytest.fixture(autouse=True)
    def at(self, cluster):
        self.options = {"preload": [JOBS], "address": cluster.address, "num_cpus": 0.5}


# --- two nodes ----------------------------------------------------------------


def test_two_nodes_run_side_by_side_and_say_so(two_nodes, tmp_path):
    with opened(two_nodes, workers=2, require=isolation_here().level) as (executor, heard):
        folders = [tmp_path / name for name in "ab"]
        for folder in folders:
            folder.mkdir()
        futures = [
            executor.submit(f"{JOBS}:where", {"until": "go"}, folder, Limits(LONG_S))
            for folder in folders
        ]
        until(lambda: all(map(begun, folders)))
        for folder in folders:
            (folder / "go").touch()
        assert [future.result(LONG_S).status for future in futures] == ["ok", "ok"]
    joined = [each for each in heard if isinstance(each, news.NodeJoined)]
    assert [each.slots for each in joined] == [1, 1]
    assert {each.isolation.level for each in joined} == {isolation_here().level}
    placed = {each.scratch: each.node for each in heard if isinstance(each, news.JobPlaced)}
    assert set(placed) == set(map(str, folders))
    assert len(set(placed.values())) == 2


def test_a_node_killed_in_mid_trial_loses_nothing(cluster, tmp_path):
    """Its job runs again, elsewhere; what had run there is gone too."""
    with cluster.node(1, resources=THIRD) as node:
        kwargs = {"resources": {"third": 1.0}}
        with opened(cluster, **kwargs) as (executor, heard):
            future = executor.submit(f"{JOBS}:where", {"until": "go"}, tmp_path, Limits(LONG_S))
            until(lambda: begun(tmp_path))
            cluster.kill(node)
            with cluster.node(1, resources=THIRD):  # and this one joins late
                until(lambda: len(begun(tmp_path)) == 2)
                (tmp_path / "go").touch()
                assert future.result(LONG_S).status == "ok"
    lost = [each for each in heard if isinstance(each, news.NodeLost)]
    assert len(lost) == 1
    assert len([each for each in heard if isinstance(each, news.NodeJoined)]) == 2
    until(lambda: not Path(f"/proc/{begun(tmp_path)[0][0]}").exists(), 30)


def test_a_worker_killed_loses_nothing(cluster, tmp_path):
    """The host of a node dies with SIGKILL: the node gets another one, which runs the job again."""
    with opened(cluster) as (executor, heard):
        future = executor.submit(f"{JOBS}:where", {"until": "go"}, tmp_path, Limits(LONG_S))
        until(lambda: begun(tmp_path))
        os.kill(host_of(begun(tmp_path)[0][1]), signal.SIGKILL)
        until(lambda: len(begun(tmp_path)) == 2)
        (tmp_path / "go").touch()
        assert future.result(LONG_S).status == "ok"
        first = begun(tmp_path)[0][0]
        until(lambda: not Path(f"/proc/{first}").exists(), 30)
    assert any(isinstance(each, news.NodeLost) for each in heard)


def host_of(template: int) -> int:
    """Return the process that started a template: the actor."""
    stat = Path(f"/proc/{template}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def test_a_job_whose_host_is_always_lost_is_given_back(cluster, tmp_path):
    with opened(cluster, retries=0) as (executor, _):
        future = executor.submit(f"{JOBS}:where", {"until": "go"}, tmp_path, Limits(LONG_S))
        until(lambda: begun(tmp_path))
        os.kill(host_of(begun(tmp_path)[0][1]), signal.SIGKILL)
        outcome = future.result(LONG_S)
        assert outcome.status == "infrastructure"
        assert "node" in outcome.reason


def test_a_queued_job_can_be_cancelled_and_a_deadline_holds(cluster, tmp_path):
    with opened(cluster) as (executor, _):
        slow = executor.submit(f"{JOBS}:where", {"until": "never"}, tmp_path, Limits(2.0))
        other = tmp_path / "other"
        other.mkdir()
        waiting = executor.submit(f"{JOBS}:echo", {}, other, Limits())
        assert waiting.cancel()
        assert slow.result(LONG_S).status == "timeout"
        assert not (other / "left.txt").exists()


@pytest.mark.exhaustive
def test_a_host_that_does_not_answer_any_more_is_lost(cluster, tmp_path, monkeypatch):
    """A process that hangs is no process that has died: nobody but the executor notices."""
    monkeypatch.setattr(executor_module, "HUNG_S", 1.0)
    with opened(cluster, start_s=20.0) as (executor, heard):
        future = executor.submit(f"{JOBS}:where", {"until": "go"}, tmp_path, Limits(5.0))
        until(lambda: begun(tmp_path))
        os.kill(host_of(begun(tmp_path)[0][1]), signal.SIGSTOP)
        (tmp_path / "go").touch()
        assert future.result(LONG_S).status == "ok"
    assert len(begun(tmp_path)) == 2
    assert [type(each) for each in heard].count(news.NodeLost) == 1


@pytest.mark.exhaustive
def test_only_a_second_end_by_the_memory_monitor_is_the_design_s_fault(
    two_nodes, tmp_path, monkeypatch
):
    """The hosts die as the monitor ends them, with SIGKILL; what Ray says of it is replaced."""
    monkeypatch.setattr(Cluster, "out_of_memory", staticmethod(lambda error: True))
    with opened(two_nodes, workers=2) as (executor, heard):
        until(lambda: [type(each) for each in heard].count(news.NodeJoined) == 2)
        future = executor.submit(f"{JOBS}:where", {"until": "never"}, tmp_path, Limits(LONG_S))
        for tries in (1, 2):
            until(lambda wanted=tries: len(begun(tmp_path)) == wanted)
            assert not future.done()
            os.kill(host_of(begun(tmp_path)[-1][1]), signal.SIGKILL)
        outcome = future.result(LONG_S)
    assert outcome.status == "memory"
    placed = [each.node for each in heard if isinstance(each, news.JobPlaced)]
    assert len(set(placed)) == len(placed) == 2
    assert all(node in outcome.reason for node in placed)


# --- files ----------------------------------------------------------------


@pytest.mark.exhaustive
def test_a_node_that_cannot_write_is_named_and_another_one_is_tried(two_nodes, tmp_path):
    """What a full disk gives to the host while it receives a file, a limit gives it here."""
    text = tmp_path / "corpus" / "text"
    text.parent.mkdir()
    text.write_text("a" * 100_000)
    limits = Limits(LONG_S, readable=(str(text),))
    with opened(two_nodes, workers=2, shared_folder=False) as (executor, heard):
        until(lambda: [type(each) for each in heard].count(news.NodeJoined) == 2)
        hosts = [pid for pid in descendants(os.getpid()) if b"NodeHost" in command(pid)]
        assert len(hosts) == 2

        def run(name, writable):
            for pid, most in zip(hosts, writable, strict=True):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
            scratch = tmp_path / name
            scratch.mkdir()
            payload = {"read": str(text)}
            return executor.submit(f"{JOBS}:where", payload, scratch, limits).result(LONG_S)

        enough, little = 1 << 30, 10_000
        nowhere = run("nowhere", (little, little))
        assert nowhere.status == "infrastructure"
        assert "File too large" in nowhere.reason
        assert os.uname().nodename in nowhere.reason
        assert "Traceback" not in nowhere.reason
        for name, writable in (("one", (enough, little)), ("other", (little, enough))):
            text.write_text(f"{name} " * 100_000)  # so that it has to be sent
            assert run(name, writable).status == "ok"
    assert not any(isinstance(each, news.NodeLost) for each in heard)


def command(pid: int) -> bytes:
    """Return the command line of a process, nothing where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.exhaustive
def test_a_host_lost_while_its_result_is_fetched_leaves_no_half_of_it(
    cluster, tmp_path, monkeypatch
):
    """The job has ended, and of what it left nothing is here yet."""
    killed = []
    fetch = Transport._fetch

    def fetch_from_a_dead_host(transport, ran):
        if not killed:
            killed.extend(pid for pid in descendants(os.getpid()) if b"NodeHost" in command(pid))
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
        fetch(transport, ran)

    monkeypatch.setattr(Transport, "_fetch", fetch_from_a_dead_host)
    with opened(cluster, shared_folder=False) as (executor, heard):
        outcome = executor.submit(f"{JOBS}:echo", {"n": 1}, tmp_path, Limits(LONG_S)).result(LONG_S)
    assert killed
    assert outcome.value == {"given": {"n": 1}}
    assert not list(tmp_path.glob("*.part"))
    assert (tmp_path / "left.txt").read_text() == "left"
    assert [type(each) for each in heard].count(news.JobPlaced) == 2


def test_without_a_shared_folder_files_are_sent_once_and_results_come_back(cluster, tmp_path):
    text = tmp_path / "corpus" / "text"
    text.parent.mkdir()
    text.write_text("the coordinator's")
    limits = Limits(LONG_S, readable=(str(text.parent),))
    with opened(cluster, shared_folder=False) as (executor, _):
        for name in ("a", "b"):
            scratch = tmp_path / name
            scratch.mkdir()
            (scratch / "training.safetensors").write_text("an earlier attempt's")
            outcome = executor.submit(f"{JOBS}:where", {"read": str(text)}, scratch, limits).result(
                LONG_S
            )
            assert outcome.value["read"] == "the coordinator's"
            there = Path(outcome.value["path"])
            assert there != text
            assert there.is_file()
            if name == "a":
                first = there.stat()
            assert len(begun(scratch)) == 1, "what the job left came back"
            assert (scratch / "training.safetensors").read_text() == "an earlier attempt's"
        assert there.stat().st_ino == first.st_ino, "the second job's file was not sent again"
        text.write_text("changed meanwhile")
        outcome = executor.submit(f"{JOBS}:where", {"read": str(text)}, scratch, limits)
        assert outcome.result(LONG_S).value["read"] == "changed meanwhile"
    assert not there.exists(), "nothing of it stays on the node"


# --- what a node must be ----------------------------------------------------------------


def test_a_node_of_another_version_is_named_and_gets_no_work(cluster, monkeypatch):
    def other(require):
        mine = terms(require)
        return dataclasses.replace(mine, versions={**mine.versions, "torch": "0.4.1"})

    terms = executor_module.terms_here
    monkeypatch.setattr(executor_module, "terms_here", other)
    with pytest.raises(EnvironmentProblem) as raised, opened(cluster):
        pass
    message = str(raised.value)
    assert "0.4.1" in message
    assert os.uname().nodename in message


def test_a_node_below_the_required_level_gets_no_work(cluster):
    with (
        pytest.raises(EnvironmentProblem, match="standard") as raised,
        opened(cluster, require="standard", isolation="process"),
    ):
        pass
    assert os.uname().nodename in str(raised.value)


def test_a_plugin_that_a_node_lacks_is_named_with_the_node(cluster, tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "only_here_trainer.py").write_text("class Trainer: ...\n")
    with opened(cluster) as (executor, _):
        monkeypatch.syspath_prepend(str(mine))  # after the nodes were asked: they lack it
        payload = {"trainer": {"target": "only_here_trainer:Trainer"}}
        outcome = executor.submit(f"{JOBS}:echo", payload, tmp_path, Limits()).result(LONG_S)
    assert outcome.status == "infrastructure"
    assert "only_here_trainer" in outcome.reason
    assert os.uname().nodename in outcome.reason


def test_no_room_is_said_once_with_what_is_asked_and_what_there_is(cluster, tmp_path):
    with opened(cluster, num_gpus=3, patience_s=1) as (executor, heard):
        future = executor.submit(f"{JOBS}:echo", {}, tmp_path, Limits())
        until(lambda: heard)
        time.sleep(3)
        (said,) = heard
        assert isinstance(said, news.Waiting)
        assert "GPU 3" in said.reason
        assert "CPU 1" in said.reason
    assert future.result(1).status == "infrastructure"


def test_a_training_on_a_gpu_needs_one_that_is_asked_for(cluster, tmp_path):
    with (
        opened(cluster) as (executor, _),
        pytest.raises(EnvironmentProblem, match="num_gpus"),
    ):
        executor.submit(f"{JOBS}:echo", {}, tmp_path, Limits(accelerator=True))


def test_a_cluster_of_another_version_is_one_error_that_names_both(cluster):
    """Ray compares what the head has noted of itself at its start; here it notes something else."""
    from ray._raylet import GcsClient

    client = GcsClient(address=cluster.address)
    key, space = b"CLUSTER_METADATA", b"cluster"
    noted = client.internal_kv_get(key, space)
    facts = json.loads(noted)
    try:
        for name, other in (("ray_version", "2.9.3"), ("python_version", "3.13.99")):
            changed = json.dumps({**facts, name: other}).encode()
            client.internal_kv_put(key, changed, True, space)
            with pytest.raises(EnvironmentProblem) as raised:
                RayExecutor(RayOptions(address=cluster.address), workers=1)
            message = str(raised.value)
            assert all(text in message for text in (other, *facts_of_this(facts), cluster.address))
            (offer,) = RayExecutor.survey(RayOptions(address=cluster.address))
            assert not offer.usable
            assert other in offer.found
    finally:
        client.internal_kv_put(key, noted, True, space)


def facts_of_this(facts):
    """Return the versions of this machine, which are those that the cluster really has."""
    return facts["ray_version"], facts["python_version"]


@pytest.mark.parametrize("address", ["127.0.0.2:1", "127.0.0.2:999999", "ray://a:1", "nonsense"])
def test_an_address_without_a_cluster_is_one_clear_error(address):
    started_at = time.monotonic()
    with pytest.raises(EnvironmentProblem) as raised:
        RayExecutor(RayOptions(address=address), workers=1)
    assert address in str(raised.value)
    assert "ray start" in (raised.value.hint or "")
    assert time.monotonic() - started_at < 60


def test_a_port_where_something_else_answers_is_one_clear_error(tmp_path):
    """In a process of its own: this one is connected to the cluster."""
    server = http.server.HTTPServer(("127.0.0.2", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        experiment = write_experiment(tmp_path)
        address = f"127.0.0.2:{server.server_port}"
        told = engine(
            "run", experiment, "--out", tmp_path / "run", "--set", 'executor.use="ray"',
            "--set", f'executor.address="{address}"', "--set", "executor.connect_s=20",
        )  # fmt: skip
    finally:
        server.shutdown()
    assert told.code == 4, told.err
    assert address in told.err
    assert "Traceback" not in told.err


def test_ray_is_not_imported_by_its_description():
    code = (
        "import sys\n"
        "from genesys_engine.plugins.host import PluginHost\n"
        "PluginHost().registry.get('executor', 'ray').options_model()\n"
        "from genesys_engine.plugins.executors.ray import RayExecutor\n"
        "assert 'ray' not in sys.modules, 'imported'\n"
    )
    commands.run([sys.executable, "-c", code], check=True)


# --- whole runs ----------------------------------------------------------------


def on(cluster, **more):
    """Return the words that have a run use a cluster."""
    options = {"use": '"ray"', "address": f'"{cluster.address}"', **more}
    return [word for key, value in options.items() for word in ("--set", f"executor.{key}={value}")]


@pytest.mark.slow
def test_a_run_has_the_same_log_on_two_nodes_and_says_where_it_ran(two_nodes, tmp_path):
    experiment = write_experiment(tmp_path)
    words = ("run", experiment, "--set", "run.workers=2")
    alone = engine(*words, "--out", tmp_path / "process")
    assert alone.code == 0, alone.err
    spread = engine(*words, "--out", tmp_path / "ray", *on(two_nodes))
    assert spread.code == 0, spread.err
    assert digest(tmp_path / "ray") == digest(tmp_path / "process")
    assert "(raylet)" not in spread.out + spread.err
    assert "Ray" not in spread.out + spread.err
    log = engine("events", tmp_path / "ray").out
    assert log.count("node.joined") == 2
    assert log.count("trial.placed") >= 6, "three trainings and evaluations"


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_coordinator_killed_and_resumed_pays_nothing_twice(two_nodes, tmp_path):
    experiment = write_experiment(tmp_path)
    run = tmp_path / "killed"
    words = (experiment, "--set", "run.workers=2")
    whole = engine("run", *words, "--out", tmp_path / "whole")
    assert whole.code == 0, whole.err

    def finished():
        return ask(run, "SELECT 1 FROM verifications")

    with started("run", *words, "--out", run, *on(two_nodes)) as process:
        wait_for(finished, process)
        process.send_signal(signal.SIGKILL)
    again = engine("resume", run)
    assert again.code == 0, again.err
    assert digest(run) == digest(tmp_path / "whole")
