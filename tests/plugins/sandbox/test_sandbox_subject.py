"""A judge and its subject in real processes, and what a candidate does to its end of it."""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import subject_jobs
from sandbox_support import assert_nothing_lives, descendants, need

from genesys_engine.gab.raised import describe, read
from genesys_engine.plugins.sandbox import Limits, SandboxHost
from genesys_engine.plugins.sandbox.channel import SHARED_BYTES
from genesys_engine.plugins.sandbox.subject import SameProcess, SubjectRaised

HERE = Path(__file__).parent
LIMITS = Limits(wall_s=200, memory_bytes=2 << 30, subject="subject_jobs:operations")
GONE_S = 60


@pytest.fixture(scope="module", params=["strict", "process"])
def host(request):
    if request.param != "process":
        need(request.param)
    host = SandboxHost(workers=2, preload=("torch",), at_most=request.param)
    host.level = request.param
    yield host
    host.close()


@pytest.fixture
def run(host, tmp_path):
    def run(name, limits=LIMITS, **payload):
        scratch = tmp_path / f"{name}{len(list(tmp_path.iterdir()))}"
        return host.submit(f"subject_jobs:{name}", payload, scratch, limits).result(250)

    return run


def ask(run, operation, limits=LIMITS, sizes=(), **arguments):
    return run("relay", limits, operation=operation, arguments=arguments, sizes=list(sizes))


# --- what is asked and answered ---


def test_arguments_and_tensors_go_there_and_back(run):
    outcome = ask(run, "echo", sizes=[5, 0, 1], text="ä\n", nested={"a": [1, 2.5, None, True]})
    assert outcome.status == "ok", outcome.reason
    assert outcome.value["answer"] == {"text": "ä\n", "nested": {"a": [1, 2.5, None, True]}}
    assert outcome.value["shapes"] == [[5], [0], [1]]
    assert outcome.value["sums"] == [10.0, 0.0, 0.0]


def test_every_dtype_and_form_of_tensor_comes_back_as_it_was(run):
    outcome = run("every_dtype")
    assert outcome.status == "ok", outcome.reason
    assert outcome.value["same"] == [True] * 13


@pytest.mark.parametrize("size", [SHARED_BYTES // 4, SHARED_BYTES // 4 + 1, 50_000_000])
def test_a_tensor_that_the_shared_memory_does_not_hold_goes_in_pieces(run, size):
    outcome = ask(run, "echo", replace(LIMITS, memory_bytes=4 << 30), sizes=[3, size, 7])
    assert outcome.status == "ok", outcome.reason
    assert outcome.value["shapes"] == [[3], [size], [7]]
    # The largest numbers that fp32 holds exactly are below 2^24, so both sums are rounded alike.
    assert outcome.value["sums"][1] == pytest.approx(size * (size - 1) / 2, rel=1e-6)


def test_two_large_tensors_in_one_answer(run):
    outcome = ask(run, "zeros", shapes=[[5, 1 << 20], [3, 1 << 20]])
    assert outcome.value["shapes"] == [[5, 1 << 20], [3, 1 << 20]]


def test_many_questions_in_a_row(run):
    assert run("many", count=300).status == "ok"


def test_what_was_received_is_out_of_reach(run):
    outcome = run("changed_later")
    assert outcome.value == {"same": True, "sum": 4096.0}


# --- what a subject has ---


def test_a_subject_has_a_folder_and_a_channel_of_its_own(run, tmp_path):
    value = ask(run, "tell").value["answer"]
    assert value["scratch"] == value["cwd"] == value["home"]
    assert Path(value["scratch"]).name == "subject"
    assert value["session"] == value["pid"]
    assert value["fds"][:4] == [0, 1, 2, 3]
    assert len(value["fds"]) == 5  # the fifth is the listing's own


def test_a_subject_never_had_the_payload_in_its_memory(run):
    halves = ["of-the-pay", "load-alone"]
    secret = {"word": "".join(halves), "operation": "looks_for_payloads"}
    outcome = run("relay", **secret, arguments={"halves": halves})
    assert outcome.value["answer"] == {"seen": 0}
    again = run("relay", **secret, arguments={"halves": halves})  # nor that of the job before
    assert again.value["answer"] == {"seen": 0}


def test_a_subject_reads_neither_the_corpus_nor_the_judge_s_folder(host, run, tmp_path):
    if host.level == "process":
        pytest.skip("files are the kernel's matter, from the level `standard` on")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "text").write_text("held out")
    limits = replace(LIMITS, readable=(str(corpus),))
    outcome = ask(run, "reads", limits, path=str(corpus / "text"))
    assert (outcome.status, outcome.reason[:15]) == ("error", "SubjectRaised: ")
    assert "PermissionError" in outcome.reason
    shown = replace(LIMITS, subject_readable=(str(corpus),))
    assert ask(run, "reads", shown, path=str(corpus / "text")).value["answer"] == {
        "text": "held out"
    }
    outside = tmp_path / "relay-judge"
    outside.mkdir()
    assert ask(run, "writes", path=str(outside / "x")).status == "error"
    assert not (outside / "x").exists()


# --- how it may end ---


@pytest.mark.parametrize(
    ("operation", "arguments", "status", "reason"),
    [
        ("crash", {}, "crashed", "SIGSEGV"),
        ("killed", {"signal": "SIGTERM"}, "crashed", "SIGTERM"),
        ("killed", {"signal": "SIGABRT"}, "crashed", "SIGABRT"),
        ("killed", {"signal": "SIGXCPU"}, "timeout", "CPU time"),
        ("leaves", {"code": 0}, "crashed", "exit code 0"),
        ("leaves", {"code": 9}, "crashed", "exit code 9"),
        ("closes", {}, "crashed", "closed its channel"),
        ("allocates", {}, "memory", "MemoryError"),
        ("computes", {}, "error", "RuntimeError: mat1 and mat2"),
        ("exits", {}, "error", "SystemExit: 3"),
        ("no_json", {}, "error", "not JSON serializable"),
        ("not_finite", {}, "error", "Out of range float"),
        ("nothing_of_the_name", {}, "error", "KeyError"),
    ],
)
def test_a_job_ends_as_its_subject_does(run, operation, arguments, status, reason):
    outcome = ask(run, operation, **arguments)
    assert outcome.status == status, outcome.reason
    assert reason in outcome.reason


def test_operations_that_cannot_be_made_are_the_candidate_s_fault(run):
    outcome = ask(run, "echo", replace(LIMITS, subject="subject_jobs:raises_on_start"))
    assert (outcome.status, "no operations today" in outcome.reason) == ("error", True)


def test_a_subject_that_hangs_is_ended_with_its_stack(host, run):
    outcome = ask(run, "hangs", replace(LIMITS, wall_s=2.5))
    assert outcome.status == "timeout"
    assert "hangs" in outcome.reason
    assert_nothing_lives(host.template_pid)


def test_a_judge_at_its_deadline_takes_the_subject_along(host, run):
    assert run("takes_long", replace(LIMITS, wall_s=1.0)).status == "timeout"
    assert_nothing_lives(host.template_pid)


def test_a_judge_may_go_on_without_its_subject(host, run):
    assert run("goes_on").value == {"gone": True}
    assert_nothing_lives(host.template_pid)


def test_both_count(run):
    """Time of both processes, the larger memory of the two."""
    outcome = ask(run, "echo", replace(LIMITS, memory_bytes=4 << 30), sizes=[50_000_000])
    assert outcome.facts["max_rss_bytes"] > 400 << 20
    assert 0 < outcome.facts["cpu_s"] < 60


def test_closing_the_host_ends_both(tmp_path):
    host = SandboxHost(workers=1, preload=("torch",))
    future = host.submit("subject_jobs:takes_long", {}, tmp_path / "a", LIMITS)
    end = time.monotonic() + 60
    while time.monotonic() < end and not (host.template_pid and descendants(host.template_pid)):
        time.sleep(0.05)
    pids = descendants(host.template_pid)
    host.close()
    assert future.result(60).status == "infrastructure"
    end = time.monotonic() + GONE_S
    while any(_alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(_alive(pid) for pid in pids)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_two_subjects_share_nothing(host, run):
    value = run("ask_both", replace(LIMITS, subjects=2)).value
    assert value["heard"] == {"words": []}
    one, other = value["told"]
    assert one["pid"] != other["pid"]
    assert one["session"] != other["session"]
    assert [Path(told["scratch"]).name for told in (one, other)] == ["subject", "subject2"]
    assert len(one["fds"]) == len(other["fds"]) == 5
    assert_nothing_lives(host.template_pid)


@pytest.mark.parametrize(
    ("operation", "status", "reason"),
    [("crash", "crashed", "SIGSEGV"), ("closes", "crashed", "closed its channel")],
)
def test_the_subject_that_is_lost_says_how_the_job_ends(host, run, operation, status, reason):
    outcome = run("lose_the_second", replace(LIMITS, subjects=2), operation=operation)
    assert (outcome.status, reason in outcome.reason) == (status, True)
    assert_nothing_lives(host.template_pid)


# --- lies ---

TENSOR = {"dtype": "float32", "shape": [2]}
NOTHING = {"answers": [], "counts": [], "raised": None}
RAISED = describe(ValueError("0")).to_json()
FRAME = {"file": "<text>", "line": 1, "function": "f", "code": "x", "held": []}


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({"bytes": [255, 255, 255, 255]}, "exceeds"),
        ({"text": "{"}, "malformed"),
        ({"text": "[" * 100_000}, "malformed"),
        ({"text": '{"message": ' * 30 + "1" + "}" * 30}, "nested deeper"),
        ({"text": '{"message": {"x": 1e999}, "tensors": []}'}, "finite"),
        ({"text": '{"message": {"x": NaN}, "tensors": []}'}, "finite"),
        ({"header": {"message": {}}}, "without message and tensors"),
        ({"header": {"message": [], "tensors": []}}, "no object"),
        ({"header": {"message": {}, "tensors": {}}}, "no list"),
        ({"header": {"message": {}, "tensors": [TENSOR] * 5000}}, "more than 4096 tensors"),
        ({"header": {"message": {}, "tensors": [{**TENSOR, "dtype": "object"}]}}, "dtype"),
        ({"header": {"message": {}, "tensors": [{**TENSOR, "dtype": ["float32"]}]}}, "dtype"),
        ({"header": {"message": {}, "tensors": [{**TENSOR, "shape": [-1]}]}}, "sizes"),
        ({"header": {"message": {}, "tensors": [{**TENSOR, "shape": [True]}]}}, "sizes"),
        ({"header": {"message": {}, "tensors": [{**TENSOR, "shape": [2.0]}]}}, "sizes"),
        ({"header": {"message": {}, "tensors": [{**TENSOR, "shape": [1 << 40]}]}}, "exceed"),
        ({"header": {"message": {}, "tensors": [{**TENSOR, "shape": [1 << 62, 8]}]}}, "exceed"),
        ({"header": {"message": {}, "tensors": [{**TENSOR, "shape": [1] * 99}]}}, "shape"),
        ({"header": {"message": {}, "tensors": [{**TENSOR, "more": 1}]}}, "dtype and shape"),
        ({"header": {"message": {}, "tensors": []}}, "neither answers nor an exception"),
        *[
            ({"header": {"message": {**NOTHING, **lie}, "tensors": tensors}}, reason)
            for lie, tensors, reason in (
                ({"more": 1}, [], "neither"),
                ({"answers": {}}, [], "answers of no known form"),
                ({"answers": [1], "counts": [0]}, [], "answers of no known form"),
                ({"answers": [{}], "counts": 0}, [], "counts"),
                ({"answers": [{}], "counts": [-1]}, [], "counts"),
                ({"answers": [{}], "counts": [False]}, [], "counts"),
                ({"answers": [{}], "counts": []}, [], "belong to no answer"),
                ({"answers": [{}], "counts": [2]}, [TENSOR], "belong to no answer"),
                ({"answers": [{}], "counts": [0]}, [TENSOR], "belong to no answer"),
                ({}, [], "0 answers to 1 questions"),
                ({"answers": [{}] * 2, "counts": [0] * 2}, [], "2 answers to 1 questions"),
                ({"raised": []}, [], "no known form"),
                ({"raised": {"kinds": []}}, [], "no known form"),
                ({"raised": {**RAISED, "missing": {"name": 1}}}, [], "no known form"),
                ({"raised": {**RAISED, "frames": [{**FRAME, "held": [["x"]]}]}}, [], "no known"),
                (
                    {"raised": {**RAISED, "frames": [{**FRAME, "held": [["x", "y"]] * 99}]}},
                    [],
                    "too many names",
                ),
            )
        ],
    ],
)
def test_an_answer_of_another_form_is_no_answer(run, lie, reason):
    outcome = ask(run, "lies", **lie)
    assert outcome.status == "bad_reply", outcome.reason
    assert reason in outcome.reason


def test_a_piece_that_never_comes_ends_at_the_deadline(run):
    shape = [SHARED_BYTES]
    message = {"answers": [{}], "counts": [1], "raised": None}
    header = {"message": message, "tensors": [{"dtype": "uint8", "shape": [*shape, 2]}]}
    assert ask(run, "lies", replace(LIMITS, wall_s=2.0), header=header).status == "timeout"


def test_what_one_of_several_questions_raises_comes_in_its_place(run, tmp_path):
    """The ones before it are answered, and those behind it are not asked."""
    here = subject_jobs.several({}, tmp_path, SameProcess("subject_jobs:operations", tmp_path))
    assert run("several").value == here
    assert here == {"answers": [{"n": 1}, {"n": 2}], "sums": [[3.0], []], "raised": "RuntimeError"}


def test_an_exception_is_data(run):
    told = run("raised", operation="in_text").value
    assert told["kinds"][:2] == ["RuntimeError", "Exception"]
    last = [frame for frame in told["frames"] if frame["file"] == "<text>"][-1]
    assert (last["line"], last["held"]) == (3, [["x", "float32 (2, 3)"], ["y", "float32 ()"]])
    told = run("raised", operation="strange").value
    assert told["kinds"][0] == "Strange"
    assert told["text"] == "(no message)"
    assert told["cause"]["text"] == "'\\x1b[31mred\\x00'"
    assert read(told).cause.kinds[0] == "KeyError"


def test_words_of_an_exception_are_bounded_and_clean():
    told = describe(ValueError("\x1b[2J" + "x" * 10_000))
    assert told.text.startswith("?[2J")
    assert len(told.text) == 2000
    error = ValueError("0")
    for number in range(50):
        later = ValueError(str(number))
        later.__cause__, error = error, later
    depth, what = 0, describe(error)
    while what := what.cause:
        depth += 1
    assert depth == 4
    assert read(describe(error).to_json()) == describe(error)


def test_the_same_operations_answer_in_this_process(tmp_path):
    sys.path.insert(0, str(HERE)) if str(HERE) not in sys.path else None
    here = SameProcess("subject_jobs:operations", tmp_path)
    assert here.ask("echo", {"a": 1}) == ({"a": 1}, [])
    with pytest.raises(SubjectRaised, match="mat1 and mat2"):
        here.ask("computes")
    with pytest.raises(MemoryError):
        here.ask("allocates")
    assert here.ask("tell")[0]["pid"] == os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is looked up in /proc")
def test_no_subject_has_in_its_memory_what_another_shares_with_the_judge(run):
    """The second one gets prefixes alone: what follows lies in the memory of the first one."""
    found = run("maps_of_both", replace(LIMITS, subjects=2)).value
    assert found == {"subjects": [SHARED_BYTES, SHARED_BYTES], "own": 2 * SHARED_BYTES}
