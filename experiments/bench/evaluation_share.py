"""What evaluating costs of a verification: today's quickstart against what it did before.

    python experiments/bench/evaluation_share.py [--seeds gpt mamba2] [--tokens N]

Each seed is trained as in quickstart, in the sandbox, and its checkpoint evaluated as there: the
evaluators apart from the model, the untrained control on a quarter, the cross-check.  On the other
side the same checkpoint is scored in one process by what quickstart asked for before: 64 windows
and 80 items of each task, of the trained and of the untrained model.  CPU seconds of all processes
together.  Goal: at most 12 %, over all rungs weighted as in quickstart.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

QUICKSTART = Path(__file__).parents[1] / "quickstart.toml"
BEFORE = (("heldout", {"windows": 64}), ("lm_eval", {"limit": 80}))


def main() -> None:
    """Print both sides as JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", nargs="+", default=["gpt", "mamba2"])
    options.add_argument("--tokens", type=int, help="less than quickstart's, for a quick look")
    chosen = options.parse_args()
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="genesys-bench-") as folder:
        bench = Bench(Path(folder), chosen.tokens)
        rows = [bench.row(scale, seed) for scale in bench.scales for seed in chosen.seeds]
        bench.close()
    print(
        json.dumps({"rows": rows, "share": {side: share(rows, side) for side in SIDES}}, indent=1)
    )


SIDES = ("before", "now")


def share(rows: Sequence[Mapping[str, Any]], side: str) -> float:
    """Return the evaluation's share of a run's verifications: so many at each scale."""
    evaluating: float = sum(row["verifications"] * row[side] for row in rows)
    training: float = sum(row["verifications"] * row["train"] for row in rows)
    return round(evaluating / (evaluating + training), 3)


class Bench:
    """Trains and evaluates as a run of quickstart does."""

    def __init__(self, folder: Path, tokens: int | None) -> None:
        from genesys_engine.engine.config import load_experiment
        from genesys_engine.engine.run.assembly import build_corpus, load
        from genesys_engine.plugins.corpus import Corpus
        from genesys_engine.plugins.executors.process import ProcessExecutor, ProcessOptions

        sets = ["trainer.device=cpu"]
        if tokens is not None:
            rungs = len(load_experiment(QUICKSTART).ladder.rungs)
            sets += [f"ladder.rungs.{rung}.tokens={tokens}" for rung in range(rungs)]
        setup = load(QUICKSTART, sets)
        self.host, self.experiment = setup.host, setup.experiment
        built = build_corpus(self.experiment, lambda stage: None)
        self.corpus = Corpus.open(built.folder)
        self.settings = setup.on(built).verify
        self.executor = ProcessExecutor(ProcessOptions(), workers=1)
        self.scales = [rung.scale for rung in self.settings.rungs]
        self.folder = folder

    def close(self) -> None:
        """End the workers."""
        self.executor.close()

    def row(self, scale: str, seed: str) -> dict[str, Any]:
        """Return the CPU seconds of a training and of its evaluation on both sides."""
        from genesys_engine.engine.common.records import to_json
        from genesys_engine.engine.evaluate.verification import EVALUATE, TRAIN
        from genesys_engine.engine.evaluate.verifier import verification_job
        from genesys_engine.engine.jobs.subjects import serving
        from genesys_engine.gab.compose import compose, load_block
        from genesys_engine.gab.library import seed as library_seed
        from genesys_engine.gab.scales import fit_scale, get_scale

        source = compose(library_seed(seed))
        fit = fit_scale(load_block(source), get_scale(scale), self.corpus.vocab_size)
        number = self.scales.index(scale)
        job = verification_job(self.settings, source, fit.config, number, 0)
        trained, value = self._job(TRAIN, to_json(job.training), self.settings.limits)
        scoring = job.evaluation(self.last / value["checkpoint"])
        asked = to_json(scoring)
        limits = serving(self.settings.evaluation, scoring.checkpoint)
        now, told = self._job(EVALUATE, asked, limits)
        return {
            "scale": scale,
            "seed": seed,
            "verifications": self.experiment.ladder.rungs[number].verifications,
            "train": round(trained, 2),
            "before": round(self._before(asked), 2),
            "now": round(now, 2),
            "now_in_seconds": {k: round(v, 2) for k, v in told["facts"].items() if k[-2:] == "_s"},
        }

    def _job(self, target: str, job: Mapping[str, Any], limits: Any) -> tuple[float, Any]:
        self.last = Path(tempfile.mkdtemp(dir=self.folder))
        outcome = self.executor.submit(target, job, self.last, limits).result()
        if outcome.status != "ok" or outcome.value is None or outcome.value["status"] != "ok":
            raise SystemExit(f"{target}: {outcome.status}: {outcome.reason or outcome.value}")
        return float(outcome.facts["cpu_s"]), outcome.value

    def _before(self, job: Mapping[str, Any]) -> float:
        """Return the CPU seconds of scoring both models in this process, as a warm worker did."""
        from genesys_engine.plugins.checkpoint import load_checkpoint
        from genesys_engine.plugins.models import build_model

        registry = self.host.registry
        spent = 0.0
        for _turn in range(2):  # the first one warms lm-eval up, as the template does
            begun = time.process_time()
            untrained, trained = build_model(job, "cpu"), build_model(job, "cpu")
            load_checkpoint(trained, Path(job["checkpoint"]))
            for model in (untrained, trained):
                for name, options in BEFORE:
                    registry.get("evaluator", name).create(options).evaluate(model, self.corpus)
            spent = time.process_time() - begun
        return spent


if __name__ == "__main__":
    main()
