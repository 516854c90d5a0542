"""An executor that answers at once: every verdict and score is a function of the block's source.

For tests of the loop and for benchmarks of the engine's own cost.  Its scores mean nothing.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from time import sleep
from typing import Any

from genesys_engine.gab.scales import get_scale
from genesys_engine.plugins.api import Limits, Outcome

JOBS = ("check", "train", "evaluate", "controls", "audit")


class RecordedExecutor:
    """Answers the jobs `check`, `train`, `evaluate`, `controls` and `audit`.

    Args:
        workers: jobs answered side by side; 0 answers inside `submit`.
        delay_s: jobs take a random time up to this, so that they end in any order.
        reject: share of blocks whose check fails.
        fail: share of trainings that fail.
        leaks: share of blocks that the full audit finds to leak.
        accuracy: that of an untrained model; 0 gives no score but bits per byte.
        luck: share of chance in a score; what is left is the block's own quality.
    """

    def __init__(
        self,
        *,
        workers: int = 2,
        delay_s: float = 0.0,
        reject: float = 0.05,
        fail: float = 0.03,
        leaks: float = 0.0,
        accuracy: float = 0.0,
        luck: float = 1.0,
    ) -> None:
        self.workers = workers
        self.calls: dict[str, int] = dict.fromkeys(JOBS, 0)
        self._counting = Lock()
        self._delay_s = delay_s
        self._reject = reject
        self._fail = fail
        self._leaks = leaks
        self._accuracy = accuracy
        self._share = luck
        self._threads = ThreadPoolExecutor(workers) if workers else None

    def submit(
        self, target: str, payload: Mapping[str, Any], scratch: Path, limits: Limits
    ) -> Future[Outcome]:
        """Answer one job; `scratch` and `limits` are not needed."""
        job = target.rpartition(":")[2]
        if self._threads is not None:
            return self._threads.submit(self._answer, job, payload)
        done: Future[Outcome] = Future()
        done.set_result(self._answer(job, payload))
        return done

    def close(self) -> None:
        """End the threads."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def _answer(self, job: str, payload: Mapping[str, Any]) -> Outcome:
        if self._delay_s:
            sleep(random.random() * self._delay_s)  # on purpose not repeatable
        with self._counting:
            self.calls[job] += 1
        value: Mapping[str, Any] = getattr(self, f"_{job}")(payload)
        return Outcome("ok", value)

    def _check(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        chance = _chance(payload["source"], "check")
        if chance() < self._reject:
            return _report(_finding("recorded.rejected", "rejected by chance"))
        fits: dict[str, Any] = {}
        flops: dict[str, float] = {}
        for name in payload["scales"]:
            scale = get_scale(name)
            reference = scale.reference_parameters(payload["vocab_size"])
            fits[name] = {
                "d_model": scale.d_model,
                "n_blocks": scale.n_blocks,
                "context": scale.context,
                "vocab_size": payload["vocab_size"],
                "parameters": int(reference * (0.8 + 0.4 * chance())),
                "reference": reference,
            }
            flops[name] = 6.0 * fits[name]["parameters"]
        fingerprint = hashlib.sha256(payload["source"].encode()).hexdigest()
        measured = {"fits": fits, "flops_per_token": flops, "fingerprint": fingerprint}
        return {"passed": True, "findings": [], "measurements": measured}

    def _train(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        if _luck(payload)() < self._fail:
            return {"status": "failed", "reason": "failed by chance"}
        tokens = payload["budget"]["tokens"]
        return {
            "status": "ok",
            "curve": [(tokens * i / 10, 7.0 - 0.3 * i) for i in range(1, 11)],
            "tokens": tokens,
            "steps": 10,
            "parameters": 1,
        }

    def _evaluate(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        chance = _luck(payload)
        chance()  # decided whether it trains
        quality = _chance(payload["source"], "quality")()
        worse = self._share * chance() + (1 - self._share) * quality
        scores = {"bits_per_byte": _score(2.5 + 0.5 * worse)}
        controls = {"untrained": {"bits_per_byte": _score(6.0)}}
        if self._accuracy:
            scores["continuation:acc"] = _score(0.3 + 0.4 * chance(), up=True)
            controls["untrained"]["continuation:acc"] = _score(self._accuracy, up=True)
        return {"status": "ok", "scores": scores, "controls": controls}

    def _audit(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        leaks = _chance(payload["source"], "audit")() < self._leaks
        findings = [_finding("causality.leak", "leaks by chance")] if leaks else []
        return {"report": _report(*findings), "machine_findings": [], "facts": {}}

    def _controls(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        return {"bigram": {"bits_per_byte": _score(4.0)}}


def _report(*findings: dict[str, Any]) -> dict[str, Any]:
    return {"passed": not findings, "findings": list(findings), "measurements": {}}


def _finding(code: str, message: str) -> dict[str, Any]:
    about = {"code": code, "severity": "error", "message": message, "advice": "none"}
    return {**about, "unit": None, "line": None, "evidence": {}}


def _score(value: float, *, up: bool = False) -> dict[str, Any]:
    return {"value": value, "stderr": 0.01, "higher_is_better": up, "n": 100}


def _luck(payload: Mapping[str, Any]) -> Any:
    return _chance(payload["source"], f"verify/{payload['seed']}/{payload['model']}")


def _chance(source: str, purpose: str) -> Any:
    digest = hashlib.sha256(f"{purpose}\n{source}".encode()).digest()
    return random.Random(digest).random
