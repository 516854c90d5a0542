"""A finished run made with the real store: five seeds, their descendants, three rungs, failures.

Trees are real and compose; the numbers follow a simple law (a latent quality per design and
noise per training), so that views can be checked against it.
"""

import math
import random
import statistics
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from stored import NOTHING_DONE, design_report, design_task, score

from genesys_engine.engine.jobs.scores import Score
from genesys_engine.engine.jobs.tasks import Task, VerifyTask
from genesys_engine.engine.store.event_types import record_of
from genesys_engine.engine.store.run_store import DesignRow, Store, VerificationRow
from genesys_engine.gab import library
from genesys_engine.gab.tree import GABTree, grow
from genesys_engine.plugins import event_kinds as events

SCALES = ("0.2M", "1M", "4M")
CAPS = (30, 8, 2)
TOKENS = (400_000, 1_500_000, 4_000_000)
NOISE_SEEDS = (3, 1, 1)
SIGMA = (0.45, 0.3, 0.2)
BASE_BPB = (2.92, 2.51, 2.20)
SEED_QUALITY = {"gpt": 0.0, "mamba2": 0.7, "retnet": -2.1, "rwkv6": -1.1, "ttt": -3.4}
CHILDREN = 24

EXPERIMENT = {
    "run": {"name": "sample", "seed": 7, "workers": 2, "mode": "steady_state", "lookahead": 6},
    "population": {"seeds": list(SEED_QUALITY), "reference": "gpt", "size": 24},
    "corpus": {"use": "stdlib"},
    "ladder": {
        "release": "gradual",
        "rungs": [
            {"scale": s, "verifications": c, "tokens": t, "noise_seeds": n}
            for s, c, t, n in zip(SCALES, CAPS, TOKENS, NOISE_SEEDS, strict=True)
        ],
    },
    "selection": {"use": "quadrant", "exploration": 0.2},
    "operators": [{"use": "hyperparameter_mutation", "weight": 1.0}],
    "trainer": {"use": "torch"},
    "evaluators": [{"use": "heldout"}, {"use": "lm_eval"}],
    "fitness": {"metric": "bits_per_byte"},
    "executor": {"use": "process", "timeout_s": 600.0},
    "budget": {"designs": CHILDREN, "wall_hours": 1.0},
    "plugins": {"disable": [], "require": []},
}

META = {
    "name": "sample",
    "experiment": EXPERIMENT,
    "experiment_digest": "e" * 64,
    "versions": {"python": "3.11.9", "genesys-engine": "0.1.0", "torch": "2.13.0"},
    "machine": {"system": "Linux 6", "cores": 2},
    "corpus": {
        "folder": "/somewhere/corpus",
        "digest": "c" * 64,
        "source": "stdlib",
        "train_tokens": 2_700_000,
        "heldout_tokens": 140_000,
        "vocab_size": 2048,
    },
}


def scores(bits: float, accuracy: float) -> dict[str, Score]:
    return {
        "bits_per_byte": score(bits, stderr=0.008, n=400),
        "continuation:acc": score(accuracy, up=True, stderr=0.022, n=400),
    }


SHAPE = {"n_blocks": 4, "context": 128, "vocab_size": 2048}
CONTROLS = {"untrained": scores(8.03, 0.248), "bigram": scores(3.87, 0.318)}


@dataclass
class Sample:
    """Writes a run event by event; `now` is the simulated clock."""

    store: Store
    rng: random.Random
    now: float = 1_790_000_000.0
    seq: int = 0
    quality: dict[int, float] = field(default_factory=dict)
    gains: dict[int, dict[int, float]] = field(default_factory=dict)
    trees: dict[int, GABTree] = field(default_factory=dict)
    verifications: int = 0
    best: tuple[int, float, int] | None = None
    reference_gains: list[float] = field(default_factory=list)

    def tick(self, seconds: float) -> None:
        self.now += seconds

    def emit(self, kind: str, *, decisive: bool = True, **payload: object) -> None:
        with self.store.transaction():
            record = record_of(kind, payload)
            assert record is not None
            self.store.add_event(record, decisive=decisive)

    # --- designs -----------------------------------------------------------------------------

    def start(self, task: Task) -> int:
        seq, self.seq = self.seq, self.seq + 1
        with self.store.transaction():
            self.store.add_task(seq, task)
        return seq

    def end(self, seq: int, facts: dict) -> None:
        with self.store.transaction():
            self.store.add_result(seq, NOTHING_DONE, facts)
            self.store.mark_applied(seq)

    def design(
        self,
        tree: GABTree,
        operator: str,
        change: str,
        parents: tuple[int, ...] = (),
        *,
        accepted: bool = True,
        codes: tuple[str, ...] = (),
    ) -> int:
        origin = operator if operator.startswith("seed:") else "variation"
        seq = self.start(design_task())
        self.emit(events.DESIGN_STARTED, seq=seq, parents=list(parents), origin=origin)
        self.tick(1.3)
        number = len(self.trees)
        fits = {
            scale: {**SHAPE, "d_model": 64 * 2**i, "parameters": 212_000 * 5**i}
            for i, scale in enumerate(SCALES)
        }
        flops = {scale: 6.0 * fit["parameters"] for scale, fit in fits.items()}
        measured = {"fits": fits, "flops_per_token": flops} if accepted else {}
        report = design_report(measured, [finding(code) for code in codes])
        row = DesignRow(
            number, seq, accepted, f"{number:064x}", f"{number:x}", parents, operator, change,
            parameters=212_000.0, flops=1_272_000.0,
        )  # fmt: skip
        with self.store.transaction():
            self.store.add_design(row, tree.to_json(), report)
        self.trees[number] = tree
        about = {"design": number, "seq": seq, "parents": list(parents)}
        if accepted:
            facts = {"digest": row.digest, "parameters": 212_000}
            self.emit(events.DESIGN_ACCEPTED, **about, operator=operator, change=change, **facts)
        else:
            self.emit(
                events.DESIGN_REJECTED, **about, operator=operator, change=change, codes=list(codes)
            )
        self.end(seq, {"design_s": 1.2})
        return number

    # --- verifications -----------------------------------------------------------------------

    def verify(
        self, design: int, rung: int, replicate: int = 0, *, cause: str = "", reason: str = ""
    ) -> float | None:
        about = {"design": design, "rung": rung, "replicate": replicate}
        seq = self.start(VerifyTask(**about))
        self.emit(events.VERIFICATION_STARTED, seq=seq, **about)
        train_s = 3.0 * (1 + 3 * rung)
        self.tick(train_s + 1.5)
        number, self.verifications = self.verifications, self.verifications + 1
        about = {"verification": number, "seq": seq, **about}
        facts = {"train_s": train_s, "eval_s": 0.9, "build_s": 0.1, "wall_s": train_s + 1.4}
        facts |= {"tokens_per_s": TOKENS[rung] / train_s, "max_rss_bytes": 612_000_000}
        gain = None if cause else self.gain(design, rung, replicate)
        bits = BASE_BPB[rung] * (1 - (gain or 0.0) / 100)
        row = VerificationRow(
            id=number,
            seq=seq,
            design=design,
            rung=rung,
            replicate=replicate,
            status="failed" if cause else "ok",
            reason=f"{cause}: {reason}" if cause else "",
            fitness=gain,
            scores={} if cause else scores(bits, 0.33 + (gain or 0.0) / 150),
            controls={} if cause else CONTROLS,
            tokens=TOKENS[rung],
            facts=facts,
        )
        with self.store.transaction():
            self.store.add_verification(row, [] if cause else self.curve(bits, rung))
        used = {"seconds": facts["wall_s"], "workers": 1}
        self.emit(events.DEVICE_USED, decisive=False, **about, **used)
        if gain is None:
            self.emit(events.VERIFICATION_FAILED, **about, cause=cause, reason=reason)
        else:
            values = {name: s.value for name, s in row.scores.items()}
            self.emit(events.VERIFICATION_FINISHED, **about, fitness=gain, scores=values)
            if replicate == 0:
                self.stand(design, rung, gain)
        self.end(seq, facts)
        return gain

    def gain(self, design: int, rung: int, replicate: int) -> float:
        if design == 0 and replicate == 0:
            return 0.0
        noise = self.rng.gauss(0.0, SIGMA[rung])
        return self.quality[design] + noise

    def stand(self, design: int, rung: int, gain: float) -> None:
        self.gains.setdefault(design, {})[rung] = gain
        fitness = statistics.fmean(self.gains[design].values())
        with self.store.transaction():
            self.store.set_standing(design, rung, fitness)
        if self.best is None or (rung, fitness) > self.best[:2]:
            self.best = (rung, fitness, design)
            self.emit(events.BEST_CHANGED, design=design, rung=rung, fitness=fitness)

    def curve(self, bits: float, rung: int) -> list[list[float]]:
        last = bits * 1.9
        points = []
        for step in range(1, 101):
            tokens = TOKENS[rung] * step / 100
            loss = last + (7.6 - last) * math.exp(-step / 14) + self.rng.gauss(0, 0.02)
            points.append([tokens, loss])
        return points


def finding(code: str) -> dict:
    return {
        "code": code,
        "severity": "error",
        "message": f"the block breaks {code}",
        "advice": "Mask the future before mixing over time.",
        "unit": "MinGRU",
        "line": 12,
        "evidence": {"difference": 0.25},
    }


@contextmanager
def simulated_clock(sample: Sample):
    clock = SimpleNamespace(time=lambda: sample.now)
    with mock.patch("genesys_engine.engine.store.run_store.time", clock):
        yield


def make_run(
    folder: Path, *, seed: int = 7, finish: bool = True, change: str | None = None
) -> Path:
    """Write a run to `folder` and return it; `change` replaces the first child's sentence."""
    with Store.create(folder, META) as store:
        store._db.execute("PRAGMA synchronous = OFF")  # a fixture need not survive a power cut
        sample = Sample(store, random.Random(seed))
        with simulated_clock(sample):
            store.curves.allocate(sum(CAPS))
            _announce(sample)
            _seeds(sample)
            _children(sample, change)
            _climb(sample)
            if finish:
                _finish(sample)
    return folder


def _announce(sample: Sample) -> None:
    rungs = [
        {"scale": s, "verifications": c, "tokens": t, "context": 128, "noise_seeds": n}
        for s, c, t, n in zip(SCALES, CAPS, TOKENS, NOISE_SEEDS, strict=True)
    ]
    sample.emit(
        events.RUN_STARTED, experiment="e" * 64, name="sample", seed=7, rungs=rungs,
        designs=CHILDREN, reference="gpt", mode="steady_state", selection="quadrant",
    )  # fmt: skip


def _seeds(sample: Sample) -> None:
    for name, quality in SEED_QUALITY.items():
        number = sample.design(library.seed(name), f"seed:{name}", f"Seed design {name}.")
        sample.quality[number] = quality
    for replicate in range(NOISE_SEEDS[0]):
        gain = sample.verify(0, 0, replicate)
        assert gain is not None
        sample.reference_gains.append(gain)
    for number in range(1, len(SEED_QUALITY)):
        sample.verify(number, 0)


def _children(sample: Sample, change: str | None) -> None:
    rng = sample.rng
    for index in range(CHILDREN):
        able = sorted(sample.gains, key=lambda d: -sample.quality[d])[:8]
        first = rng.choice(able)
        parents = (
            (first, rng.choice([d for d in able if d != first])) if index % 6 == 5 else (first,)
        )
        tree, sentence = vary(sample.trees[first], rng, second=len(parents) == 2)
        operator = "typed_crossover" if len(parents) == 2 else "unit_replacement"
        sentence = change if change is not None and index == 0 else sentence
        if index % 8 == 7:
            codes = ("causality.leak", "gradient.missing")[: 1 + index % 2]
            sample.design(tree, operator, sentence, parents, accepted=False, codes=codes)
            continue
        number = sample.design(tree, operator, sentence, parents)
        sample.quality[number] = sample.quality[first] + rng.gauss(-0.1, 1.0)
        if index % 5 == 2:
            about = {"operator": operator, "change": "Set head_dim at root.mixer to 32."}
            sample.emit(events.DESIGN_DUPLICATE, seq=sample.seq - 1, of=first, **about)
        if index in (6, 13):
            sample.verify(number, 0, cause="training", reason="loss exploded to 1.2e+09 at step 31")
        elif index == 9:
            sample.verify(number, 0, cause="timeout", reason="no reply after 600 s")
        else:
            sample.verify(number, 0)
    sample.emit(events.DESIGN_EXHAUSTED, seq=sample.seq, parents=[3], reason="every try was known")


def vary(tree: GABTree, rng: random.Random, *, second: bool) -> tuple[GABTree, str]:
    """Return a tree with one channel mixer, norm or gate replaced, and the sentence for it."""
    places = [p for p in tree.places() if p.node.unit.interface in ("norm", "channel_mixer")]
    place = rng.choice(places)
    simple = [u for u in library.units(place.node.unit.interface) if not u.slots]
    unit = rng.choice([u for u in simple if u.name != place.node.unit.name] or simple)
    grown = tree.replace(place.index, grow(unit))
    origin = " of the second parent" if second else ""
    return grown, f"Replaced {place.node.unit.name} at {place.path} by {unit.name}{origin}."


def _climb(sample: Sample) -> None:
    ranked = sorted(sample.gains, key=lambda d: -sample.gains[d][0])
    for rung, count in ((1, CAPS[1] - 1), (2, CAPS[2] - 1)):
        sample.emit(events.RUNG_OPENED, rung=rung, scale=SCALES[rung])
        sample.verify(0, rung)
        climbers = [d for d in ranked if d != 0 and rung - 1 in sample.gains[d]]
        climbers.sort(key=lambda d: -sample.gains[d][rung - 1])
        for design in climbers[:count]:
            sample.verify(design, rung)
    sample.emit(events.BUDGET_WARNING, budget="designs", used=20, cap=24)


def _finish(sample: Sample) -> None:
    store = sample.store
    sigma = statistics.stdev(sample.reference_gains)
    row = store.leaderboard(1)[0]
    child = next(row for row in store.leaderboard() if not row.operator.startswith("seed:"))
    verdict = {
        "best": row.id, "best_child": child.id, "rung": child.rung, "fitness": child.fitness,
        "reference": 0, "sigma": sigma, "verdict": f"Best child: design {child.id}.",
    }  # fmt: skip
    sample.emit(events.RUN_FINISHED, **verdict)
    with store.transaction():
        store.set_meta("sigma", {"0": sigma, "1": sigma, "2": sigma})
        store.set_meta("reference", 0)
        store.set_meta("verdict", verdict)
        store.set_meta("wall_s", sample.now - 1_790_000_000.0)
