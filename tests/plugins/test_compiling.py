"""Training that is compiled for real, inside the sandbox with the compile profile."""

import pytest
from verification_support import payload, trained_in

from genesys_engine.plugins.sandbox import SandboxHost, environment, isolation_here, toolchain

SANDBOXED = pytest.mark.skipif(
    bool(isolation_here().missing("standard")), reason="this kernel confines no files or calls"
)
PRELOAD = ("torch", "torch._dynamo", "safetensors.torch", "genesys_engine.plugins.train_job")


def job(corpus, choice):
    found = payload(corpus, tokens=4_000, compile=choice)
    found["model"]["n_blocks"] = 1
    found["evaluators"] = found["evaluators"][:1]
    return found


@pytest.fixture
def verify(corpus, tmp_path):
    """Train at a level; return the reply."""
    hosts = []

    def verify(level, choice, *, compiles):
        host = SandboxHost(workers=1, preload=PRELOAD, at_most=level)
        hosts.append(host)
        scratch = tmp_path / f"{level}-{choice}-{compiles}"
        limits = {"wall_s": 500, "compiles": compiles}
        outcome = trained_in(host, job(corpus, choice), corpus, scratch, **limits)
        assert outcome.status == "ok", outcome.reason
        host.close()
        return outcome.value

    yield verify
    for host in hosts:
        host.close()


@pytest.mark.slow
@pytest.mark.skipif(not toolchain.programs(), reason="this machine has no g++")
@pytest.mark.exhaustive
@pytest.mark.parametrize("level", ["standard", "strict"])
def test_a_training_compiles_inside_the_sandbox(verify, level, tmp_path):
    if missing := isolation_here().missing(level):
        pytest.skip(f"this kernel offers no {', '.join(missing)}")
    plain = verify(level, "never", compiles=False)
    compiled = verify(level, "always", compiles=True)
    assert compiled["facts"]["compiled"] == "yes"
    assert plain["facts"]["compiled"] == "no"
    assert list((tmp_path / f"{level}-always-True/.inductor").rglob("*.main.so"))
    assert compiled["tokens"] == plain["tokens"]
    assert [tokens for tokens, _ in compiled["curve"]] == [tokens for tokens, _ in plain["curve"]]
    for (_, one), (_, other) in zip(compiled["curve"], plain["curve"], strict=True):
        assert one == pytest.approx(other, rel=1e-4)


@SANDBOXED
def test_without_the_profile_it_falls_back_with_a_word(verify):
    facts = verify("strict", "always", compiles=False)["facts"]
    assert facts["compiled"].startswith("no: ")
    assert "PermissionError" in facts["compiled"]


def test_without_a_compiler_it_falls_back_with_a_word(verify, monkeypatch):
    monkeypatch.setitem(environment._FIXED, "PATH", "/nowhere")
    told = verify("strict", "always", compiles=True)["facts"]["compiled"]
    assert told.startswith("no: ")
    assert "compiler" in told.lower()
