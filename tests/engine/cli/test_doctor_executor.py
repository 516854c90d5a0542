"""`doctor --executor NAME`: what an executor offers, and what is wrong with what was asked."""

import json

from engine_process import here


def test_an_executor_of_this_machine_has_nothing_more_to_say():
    told = here("doctor", "--executor", "process", "--json")
    assert told.code == 0, told.err
    assert json.loads(told.out)["data"][-1]["name"] == "executor process"


def test_a_cluster_that_does_not_answer_is_a_failing_row():
    told = here("doctor", "--executor", "ray", "--set", "executor.address=127.0.0.2:1", "--json")
    assert told.code == 4
    last = json.loads(told.out)["data"][-1]
    assert last["status"] == "fail"
    assert "127.0.0.2:1" in last["found"]
    assert "ray start" in last["fix"]


def test_faults_of_the_command_line_are_usage_errors():
    here("doctor", "--executor", "rya").refused(2, "rya", "ray")
    here("doctor", "--executor", "ray", "--set", "executor.nonsense=1").refused(2, "nonsense")
    here("doctor", "--executor", "ray", "--set", "run.workers=1").refused(2, "run.workers")
