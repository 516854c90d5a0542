"""Trainings of the reference: every run that asks for the same ones shares their results."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from genesys_engine.engine.common.canonical import canonical_json
from genesys_engine.engine.jobs.facts import Facts
from genesys_engine.engine.jobs.replies import VerifyReply
from genesys_engine.engine.jobs.results import VerifyResult
from genesys_engine.engine.jobs.task_result import TaskResult
from genesys_engine.engine.jobs.worker_jobs import VerifyJob
from genesys_engine.plugins.host import BUILTIN, PluginHost
from genesys_engine.plugins.source_digest import source_digest

REPLY_KEYS = ("status", "reason", "scores", "controls", "curve", "tokens", "steps", "parameters")


PROCEDURE = 2
"""How the engine scores what it trains; another one gives other results of the same job."""


COSTS = ("device", "device_s")
"""Facts that tell what a training cost."""


class NoiseCache:
    """Results of trainings of the reference, by the digest of everything that decides them.

    Args:
        components: the code of the trainer and the evaluators (see `component_code`).
        tasks: digests of the tasks' data that do not come from the corpus.
    """

    def __init__(
        self,
        folder: Path,
        corpus_digest: str,
        versions: Mapping[str, str],
        components: Sequence[Mapping[str, str]] = (),
        tasks: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self._facts = {
            "procedure": PROCEDURE,
            "corpus": corpus_digest,
            "versions": dict(versions),
            "processor": platform.machine(),
            "components": [dict(component) for component in components],
            "tasks": list(tasks),
        }

    def key(self, job: VerifyJob, *, accelerator: bool) -> str:
        """Return the digest of a job: where its files lie doesn't count, what is in them does."""
        evaluators = tuple(
            replace(entry, options={k: v for k, v in entry.options.items() if k != "data"})
            for entry in job.evaluators
        )
        plain = replace(job, evaluators=evaluators).to_json()
        del plain["corpus"]
        whole = {**self._facts, "accelerator": accelerator, **plain}
        return hashlib.sha256(canonical_json(whole).encode()).hexdigest()

    def get(self, key: str) -> TaskResult[VerifyResult] | None:
        """Return a kept result; None where there is none that can be read."""
        try:
            kept = json.loads(self._path(key).read_text(encoding="utf-8"))
            reply = VerifyReply.model_validate(kept)
        except (OSError, ValueError, ValidationError):
            return None
        if reply.status != "ok" or reply.not_measured() is not None:
            return None
        return TaskResult(reply.result.passed(), {"reused": key, **reply.facts})

    def put(self, key: str, result: VerifyResult, facts: Facts | None = None) -> None:
        """Keep a good result; a cache that cannot be written costs time later, nothing else.

        Args:
            facts: of the machine; what the result cost counts for whoever uses it, so that runs
                at equal cost do not differ by which came first.
        """
        kept = {name: value for name, value in result.to_json().items() if name in REPLY_KEYS}
        kept["facts"] = {name: value for name, value in (facts or {}).items() if name in COSTS}
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=path.parent, suffix=".partial", delete=False, encoding="utf-8"
            ) as file:
                file.write(canonical_json(kept))
            os.replace(file.name, path)  # noqa: PTH105 - a name, not a path, is at hand
        except OSError:
            return

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"


def component_code(used: Iterable[tuple[str, str]], host: PluginHost) -> list[dict[str, str]]:
    """Return what tells the code of components that are not built in.

    The version of the engine stands for the others.

    Args:
        used: (kind, name) of the trainer and of the evaluators.
    """
    found = [host.registry.get(kind, name) for kind, name in used]
    return [
        {
            "target": description.target,
            "distribution": description.distribution,
            "version": description.version,
            "source": source_digest(description.target),
        }
        for description in found
        if description.distribution != BUILTIN
    ]
