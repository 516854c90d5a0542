"""A run in Python: its folder, read as frames."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.engine.api import frames
from genesys_engine.engine.api.designs import Design
from genesys_engine.engine.api.failures import engine_errors
from genesys_engine.engine.llm.ledger import Call
from genesys_engine.engine.score.verdict import Verdict
from genesys_engine.engine.store.names import design_names, find_design, scale_names
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.engine.store.run_store import Store, VerificationRow
from genesys_engine.engine.views import status as statuses
from genesys_engine.engine.views.details import design_details
from genesys_engine.engine.views.leaderboard import LeaderboardRow, leaderboard
from genesys_engine.engine.views.llm import exchange
from genesys_engine.engine.views.verdict import verdict_view

if TYPE_CHECKING:
    import pandas as pd
    from tokenizers import Tokenizer

_SHOWN = 10  # rows of the leaderboard in a notebook


class Run:
    """A run, by its folder; every property and method reads it afresh, also while it is active."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the run in a folder.

        Raises:
            InputError: there is none, or it cannot be read.
        """
        self.path = Path(path)
        with self._store() as store:
            self._name = str(store.meta("name", ""))

    @property
    def name(self) -> str:
        """The name of its experiment."""
        return self._name

    @property
    def experiment(self) -> dict[str, Any]:
        """Every section and key of its experiment; `Experiment.from_dict` reads them."""
        with self._store() as store:
            found: dict[str, Any] = store.meta("experiment")
            return found

    @property
    def state(self) -> str:
        """One of waiting, running, finished, interrupted, stopped (by a cap), killed."""
        with self._store() as store:
            return statuses.run_state(store).state

    def status(self) -> statuses.Status:
        """Return counts, budgets, the best so far and the time left, in seconds."""
        with self._store() as store:
            return statuses.status(store)

    @property
    def verdict(self) -> tuple[str, ...]:
        """What the run has found, in sentences, caveats included."""
        with self._store() as store:
            return verdict_view(store).lines

    @property
    def best(self) -> Design | None:
        """The best design, a seed or a child; None before the first verification."""
        return self._chosen(lambda verdict: verdict.best)

    @property
    def best_child(self) -> Design | None:
        """The best design that evolution made; None while there are seeds only."""
        return self._chosen(lambda verdict: verdict.best_child)

    def _chosen(self, which: Callable[[Verdict], int | None]) -> Design | None:
        with self._store() as store:
            number = which(verdict_view(store).verdict)
            return None if number is None else Design(design_details(store, number), store)

    def design(self, design: int | str) -> Design:
        """Return one design, by its number or the name of a seed.

        Raises:
            InputError: there is none.
        """
        with self._store() as store:
            number = find_design(store, str(design))
            return Design(design_details(store, number), store)

    # --- frames ------------------------------------------------------------------------------

    @property
    def designs(self) -> pd.DataFrame:
        """All designs, rejected ones too, a row each (`frames.DESIGNS`)."""
        with self._store() as store:
            rows, scales = list(store.designs()), scale_names(store)
            names, out = design_names(rows), store.disqualified()
        return frames.frame(
            frames.DESIGNS,
            (
                {
                    **vars(row),
                    "design": row.id,
                    "name": names.get(row.id),
                    "rung": None if row.rung is None else scales[row.rung],
                    "disqualified": out.get(row.id, ""),
                }
                for row in rows
            ),
        )

    def leaderboard(self, limit: int | None = None) -> pd.DataFrame:
        """Return the verified designs, best first (`frames.LEADERBOARD`), with their scores.

        For each metric there are the columns METRIC, stderr.METRIC, untrained.METRIC and
        bigram.METRIC: the score at the rung, its standard error, and the scores of both controls.
        """
        with self._store() as store:
            rows = leaderboard(store, limit)
        listed = (_leader(place, row) for place, row in enumerate(rows, 1))
        scores = frames.score_columns((row.scores, row.controls) for row in rows)
        return frames.frame(frames.LEADERBOARD, listed, scores)

    def verifications(self, design: int | str | None = None) -> pd.DataFrame:
        """Return the verifications of one design or of all (`frames.VERIFICATIONS`), with scores.

        The columns of scores are those of `leaderboard`.
        """
        with self._store() as store:
            number = None if design is None else find_design(store, str(design))
            rows, scales = list(store.verifications(number)), scale_names(store)
        scores = frames.score_columns((row.scores, row.controls) for row in rows)
        return frames.frame(
            frames.VERIFICATIONS, (_verification(row, scales) for row in rows), scores
        )

    def curves(self, design: int | str | None = None) -> pd.DataFrame:
        """Return the training curves of one design or of all (`frames.CURVES`), a row per point."""
        with self._store() as store:
            number = None if design is None else find_design(store, str(design))
            scales, points = scale_names(store), []
            for row in store.verifications(number):
                about = _verification(row, scales)
                for tokens, loss in store.curves.read(row.id):
                    points.append({**about, "tokens": int(tokens), "loss": loss})
        return frames.frame(frames.CURVES, points)

    def events(self) -> pd.DataFrame:
        """Return the log, in order (`frames.EVENTS`)."""
        with self._store() as store:
            found = [
                {
                    "event": event.id,
                    "at": event.at,
                    "kind": event.kind,
                    "decisive": event.decisive,
                    "payload": dict(event.payload),
                }
                for event in store.events()
            ]
        return frames.frame(frames.EVENTS, found)

    def llm_calls(self) -> pd.DataFrame:
        """Return what language models were asked and replied, in order (`frames.LLM_CALLS`)."""
        with self._store() as store:
            found = exchange(store)
        return frames.frame(frames.LLM_CALLS, map(_call, found))

    # --- files -------------------------------------------------------------------------------

    def report(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the report, one self-contained HTML page, and return its path.

        Args:
            path: the file; `report.html` in the folder of the run by default.
        """
        from genesys_engine.engine.report import write_report

        with self._store() as store:
            return write_report(store, None if path is None else Path(path))

    def export(self, design: int | str, folder: str | os.PathLike[str]) -> Path:
        """Write a design's trained model as a folder for transformers and lm-eval; return it.

        Raises:
            InputError: the folder is in use, or the design has no weights.
        """
        from genesys_engine.engine.export import export

        with self._store() as store:
            return export(store, find_design(store, str(design)), Path(folder)).folder

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of its corpus, which all its models read and write.

        Raises:
            InputError: the corpus is no longer there.
        """
        from genesys_engine.engine.export.write import run_corpus

        with self._store() as store:
            return run_corpus(store).tokenizer

    # --- words -------------------------------------------------------------------------------

    def __repr__(self) -> str:
        """Return its folder, state and counts."""
        with self._store() as store:
            run = statuses.run_state(store)
        counts = f"{run.accepted} designs, {run.verifications} verifications"
        return f"<Run {str(self.path)!r}: {run.state}, {counts}>"

    def _repr_html_(self) -> str:
        from genesys_engine.engine.report.templates import render

        with self._store() as store:
            run, rows, verdict = (
                statuses.run_state(store),
                leaderboard(store, _SHOWN),
                verdict_view(store).lines,
            )
        return render("card_run", run=run, path=str(self.path), rows=rows, verdict=verdict)

    @contextmanager
    def _store(self) -> Iterator[Store]:
        with engine_errors(), Store.open(self.path) as store:
            yield store


def _leader(place: int, row: LeaderboardRow) -> Mapping[str, Any]:
    cost, llm = row.cost, row.llm
    return {
        "place": place,
        "design": row.design,
        "name": row.name,
        "rung": row.rung,
        "gain": row.gain,
        "fitness": row.fitness,
        "verdict": row.standing,
        "fresh": None if row.fresh is None else row.fresh.mean,
        "flops": cost.flops,
        "compute": cost.compute,
        "parameters": cost.parameters,
        "train_s": cost.train_s,
        "tokens": cost.tokens,
        "llm_tokens": None if llm is None else llm.tokens,
        "llm_usd": None if llm is None else llm.usd,
        "operator": row.operator,
        "parents": row.parents,
        "change": row.change,
    }


def _verification(row: VerificationRow, scales: tuple[str, ...]) -> Mapping[str, Any]:
    return {
        "verification": row.id,
        "design": row.design,
        "rung": scales[row.rung],
        "replicate": row.replicate,
        "fresh": is_fresh(row.replicate),
        "status": row.status,
        "reason": row.reason,
        "gain": row.fitness,
        "tokens": row.tokens,
        "train_s": row.facts.get("train_s"),
        "eval_s": row.facts.get("eval_s"),
    }


def _call(call: Call) -> Mapping[str, Any]:
    values = {column.name: getattr(call, column.name) for column in frames.LLM_CALLS}
    return {**values, "messages": call.messages}
