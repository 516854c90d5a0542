"""Sections and keys of an experiment, with their defaults, limits and meaning.

This is the reference: `genesys-engine init` writes its file from the descriptions here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from genesys_engine.engine.corpus.options import CorpusOptions
from genesys_engine.plugins.kinds import PATH
from genesys_engine.plugins.sandbox.isolation import Level

if TYPE_CHECKING:
    from genesys_engine.gab.tree import GABTree

Count = Annotated[int, Field(ge=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Component(Section):
    """One use of a component: `use = "name"`, and the plugin's own options next to it.

    `options` holds all of them, defaults included, as JSON: this is what workers receive.
    """

    use: str = Field(description="name of the component; see: genesys-engine plugins list")
    options: dict[str, Any] = Field(default_factory=dict)
    _incidental: frozenset[str] = PrivateAttr(frozenset())

    def to_json(self) -> dict[str, Any]:
        """Return the table as it would stand in the file."""
        own = self.model_dump(mode="json", exclude={"options"}, exclude_none=True)
        return own | self.options

    def decisive(self) -> dict[str, Any]:
        """Return `use` and the options that change a result."""
        kept = {k: v for k, v in self.options.items() if k not in self._incidental}
        return {"use": self.use} | kept


class OperatorEntry(Component):
    """A variation operator and how often it is drawn."""

    weight: float = Field(1.0, gt=0, allow_inf_nan=False, description="relative frequency")


class EvaluatorEntry(Component):
    """An evaluator, and where on the ladder it is asked."""

    rungs: tuple[str, ...] | None = Field(
        None,
        description="scales of the rungs that it scores at; left out: all. Score tasks that are"
        " too hard for small models only at upper rungs",
    )

    def scores_at(self, scale: str) -> bool:
        """Tell whether it is asked at the rung of a scale."""
        return self.rungs is None or scale in self.rungs


class ExecutorSection(Component):
    """Where checks and verifications run, and their resource limits."""

    use: str = "process"
    timeout_s: PositiveFloat = Field(
        1800.0,
        description="seconds of wall time for one training, and again for its evaluation, before"
        " it is killed",
    )
    memory_gib: PositiveFloat = Field(
        4.0, description="memory of one worker in GiB; a design that needs more fails"
    )


class RunSection(Section):
    """The course of the run."""

    name: str = Field(
        "experiment",
        min_length=1,
        description="name in displays and reports; default: the name of the file",
    )
    seed: int = Field(1, ge=0, description="seed of all randomness")
    workers: Count = Field(
        2,
        description="worker processes; results do not depend on it (workers beyond"
        " `lookahead` stay idle)",
    )
    mode: Literal["steady_state", "generational"] = Field(
        "steady_state",
        description="steady_state: every result counts at once; generational: mu + lambda",
    )
    lookahead: Count = Field(
        6, description="tasks that may be running when the next decision is made"
    )
    designers: Count = Field(2, description="threads that create designs")
    tries_per_design: Count = Field(
        20, description="attempts at a valid new child before the design is abandoned"
    )


@dataclass(frozen=True)
class OwnSeed:
    """A seed that is not of the library: its tree in JSON, its digest, a sentence on it, and the
    whole path that it was read from, as an experiment may name it again."""

    tree: Mapping[str, Any]
    digest: str
    change: str
    place: str


class PopulationSection(Section):
    """Seeds, population and parents.

    Once an experiment is read, `seeds` and `reference` are names, and those that `from` adds are
    among them (see `seeds.read_seeds`).
    """

    seeds: tuple[str, ...] = Field(
        ("gpt", "mamba2", "retnet", "rwkv6", "ttt"),
        min_length=1,
        description="designs from which evolution starts: names of the library, files of your"
        " own (a tree in .json, a block in .py), designs RUN:ID of another run; paths are relative"
        " to the experiment file",
    )
    from_run: str | None = Field(
        None,
        alias="from",
        description="folder of a run whose best designs join the seeds, relative to the experiment"
        " file",
    )
    from_best: Count = Field(4, description="number of these designs, if `from` names a run")
    reference: str = Field(
        "gpt", description="the seed that fitness is relative to, trained at every rung"
    )
    size: Count = Field(24, description="mu: designs that may become parents")
    offspring: Count = Field(8, description="lambda: children per generation (generational)")
    crossover_after: int = Field(
        10, ge=0, description="designs before a child may have two parents"
    )
    scratch_after: int = Field(20, ge=0, description="designs before a child may have no parent")
    restart: Probability = Field(0.05, description="probability to vary a seed again")
    parents: tuple[Probability, Probability, Probability] = Field(
        (0.05, 0.80, 0.15), description="probabilities of 0, 1 and 2 parents, summing to 1"
    )
    _own: dict[str, OwnSeed] = PrivateAttr(default_factory=dict)

    @property
    def own(self) -> Mapping[str, OwnSeed]:
        """The seeds that are not of the library, by name."""
        return self._own

    def tree(self, seed: str) -> GABTree:
        """Return the tree of a seed."""
        from genesys_engine.gab import library
        from genesys_engine.gab.tree import GABTree

        own = self._own.get(seed)
        return library.seed(seed) if own is None else GABTree.from_json(own.tree)

    def with_seeds(self, seeds: Mapping[str, OwnSeed | None], reference: str) -> PopulationSection:
        """Return the section with the seeds that were read, in order of their names here."""
        read = self.model_copy(
            update={"seeds": tuple(seeds), "reference": reference, "from_run": None}
        )
        read._own = {name: own for name, own in seeds.items() if own is not None}
        return read


class Rung(Section):
    """One scale of the ladder."""

    scale: str = Field(description="model size, such as 0.2M, 1M, 4M, 14M")
    verifications: Count = Field(
        description="hard cap of trainings at this rung, `noise_seeds` of the reference among them"
    )
    tokens: Count | None = Field(None, description="training tokens; default: from the scale")
    batch_tokens: Count | None = Field(None, description="tokens per step; default: from the scale")
    peak_lr: PositiveFloat | None = Field(
        None,
        description="peak learning rate of AdamW; default: from the scale. The rates of Muon"
        " scale with it",
    )
    noise_seeds: int = Field(
        1,
        ge=1,
        le=999,
        description="training seeds of the reference, to measure noise; trainings cached by"
        " `genesys-engine calibrate` or an earlier run are not repeated",
    )


class LadderSection(Section):
    """The ladder of scales: many small trainings, few large ones."""

    release: Literal["gradual", "halving"] = Field(
        "gradual",
        description="gradual: an upper rung opens while the lower one is being used up; halving:"
        " once it is used up",
    )
    rungs: tuple[Rung, ...] = Field(
        (
            Rung(scale="0.2M", verifications=27, tokens=400_000, batch_tokens=512, noise_seeds=3),
            Rung(scale="1M", verifications=7, tokens=800_000, batch_tokens=512),
        ),
        min_length=1,
        description="from the smallest scale to the largest",
    )
    finalists: int = Field(
        0,
        ge=0,
        description="best children that race against all seeds of the population, trained again"
        " with fresh seeds at the largest scale; the verdict then rests on the race",
    )
    finalist_seeds: int = Field(
        4,
        ge=1,
        le=999,
        description="maximum number of fresh training seeds in the race: after 2, 4, 8, ... and the"
        " last, designs that are worse than the leader drop out",
    )


class LLMSection(Component):
    """The language models that operators ask: one for all roles, or another for some.

    `roles` holds the tables [llm.roles.NAME]; one without `use` changes single options only.
    """

    concurrency: Count = Field(4, description="concurrent requests")
    requests_per_minute: PositiveFloat | None = Field(
        None, description="maximum requests per minute; default: no limit"
    )
    tokens_per_minute: PositiveFloat | None = Field(
        None, description="maximum tokens per minute, input and output; default: no limit"
    )
    deadline_s: PositiveFloat | None = Field(
        None, description="maximum seconds per call; default: set by the operator"
    )
    backoff_s: PositiveFloat = Field(
        1.0, description="first pause after a call that failed, in seconds; it doubles each time"
    )
    longest_pause_s: PositiveFloat = Field(
        60.0, description="longest pause, unless the service requests a longer one"
    )
    give_up_after_s: PositiveFloat = Field(
        3600.0, description="seconds without an answer before the run stops; it can be resumed"
    )
    stop_after_failures: Annotated[int, Field(ge=0)] = Field(
        5,
        description="consecutive designs abandoned for the same reason before the run stops; it"
        " can be resumed. 0: never",
    )
    recording: str = Field(
        "",
        description="file that `genesys-engine llm record` wrote: replies of the same model are"
        " taken from it, with the recorded tokens and cost, and only new requests are sent",
        json_schema_extra=PATH,
    )
    roles: dict[str, Component] = Field(
        default_factory=dict, description="other models for some roles"
    )

    def to_json(self) -> dict[str, Any]:
        """Return the table as it would stand in the file."""
        hidden = {"options", "roles"}
        own = self.model_dump(mode="json", exclude=hidden, exclude_none=True) | self.options
        if self.roles:
            own["roles"] = {role: entry.to_json() for role, entry in self.roles.items()}
        return own

    def decisive(self) -> dict[str, Any]:
        """Return what tells models apart, for every role that has a table."""
        roles = {role: entry.decisive() for role, entry in self.roles.items()}
        return super().decisive() | ({"roles": roles} if roles else {})


class KnowledgeSection(Section):
    """Knowledge base for operators."""

    base: str = Field(
        "",
        description="folder of a knowledge base (see: genesys-engine knowledge); default: the"
        " bundled reference cards",
        json_schema_extra=PATH,
    )
    limit: Count = Field(8, description="maximum passages per query")


Metric = Annotated[str, Field(min_length=1)]


class FitnessSection(Section):
    """What is maximised: the gain in per cent over the reference, averaged over rungs."""

    metric: Metric | Annotated[tuple[Metric, ...], Field(min_length=1)] = Field(
        "bits_per_byte",
        description='name of a score, or "accuracy": the mean of all zero-shot accuracies; of'
        " several in a list, the mean of the gains counts",
    )
    relative_to: Literal["reference", "untrained"] = Field(
        "reference",
        description="denominator of a gain; reference: its score; untrained: its improvement over"
        " the same model with random weights",
    )

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that fitness is the mean gain of."""
        return (self.metric,) if isinstance(self.metric, str) else self.metric


class SandboxSection(Section):
    """How strictly candidates are kept apart from the machine; see docs/sandbox.md."""

    require: Level = Field(
        "process",
        description="minimum level: process, standard (also Landlock and"
        " seccomp) or strict (also namespaces); `doctor` shows the level of this machine",
    )
    readable: tuple[str, ...] = Field(
        (),
        description="files and folders that workers may read in addition to the installed packages",
        json_schema_extra=PATH,
    )


class BudgetSection(Section):
    """Hard caps.  A warning comes at 50 and 80 %; a run that a cap ends can be resumed."""

    designs: Count = Field(20, description="number of children; seeds do not count")
    wall_hours: PositiveFloat | None = Field(None, description="wall time")
    device_hours: PositiveFloat | None = Field(
        None,
        description="total device hours of verifications: GPU-hours where there"
        " is a GPU, hours of workers where they train on the processor",
    )
    llm_tokens: Count | None = Field(
        None, description="tokens of language models, input and output"
    )
    llm_usd: PositiveFloat | None = Field(
        None, description="US dollars for language models; every model needs a known price"
    )


class PluginsSection(Section):
    """Which plugins are left alone, which must work, and which lie next to the experiment."""

    disable: tuple[str, ...] = Field((), description="distributions or plugins not to load")
    require: tuple[str, ...] = Field((), description="distributions or plugins that must load")
    local: tuple[str, ...] = Field(
        (), description="files or folders with a plugin", json_schema_extra=PATH
    )


class CompareArm(Section):
    """One configuration in a comparison."""

    name: str = Field(min_length=1, max_length=60, description="label in tables and plots")
    implementer: str = Field(
        "", description="implementation study: gp, direct, best_of_n, sequential, no_planner ..."
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="implementation study: options of the implementer"
    )
    proposals: Annotated[int, Field(ge=0)] | tuple[str, ...] | None = Field(
        None,
        description="implementation study: number of proposals (the first ones), or their names;"
        " default: all",
    )
    sets: tuple[str, ...] = Field(
        (),
        description="evolution study: overrides of the experiment, in the form of --set",
    )


class CompareSection(Section):
    """Arms of `genesys-engine compare`; ignored by `run`."""

    study: Literal["implementation", "evolution"] = Field(
        "implementation",
        description="implementation: the same proposals for every arm; evolution: whole runs",
    )
    arms: tuple[CompareArm, ...] = Field(
        (), description="the arms; the first is compared with each of the others"
    )
    proposals: str = Field(
        "",
        description="implementation study: folder of proposals, one JSON file each",
        json_schema_extra=PATH,
    )
    checks: str = Field(
        "",
        description="recorded reports of checks (`checks.jsonl` of the study that was recorded, or"
        " that file with xz): reports are part of prompts, so replaying replies needs the"
        " recorded reports; checks without a recorded report are run",
        json_schema_extra=PATH,
    )
    equal_to: str = Field(
        "",
        description="the arm whose tokens on a proposal best_of_n and sequential may use on it",
    )
    proposal_tokens: Count | None = Field(
        None, description="tokens after which an arm starts nothing new on a proposal"
    )
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (1, 2, 3), min_length=1, description="evolution study: run.seed of the runs of every arm"
    )
    tokens: Count | None = Field(
        None,
        description="cap of every arm (evolution study: of each of its runs) in tokens of language"
        " models",
    )
    usd: PositiveFloat | None = Field(
        None, description="cap of every arm (evolution study: of each of its runs) in US dollars"
    )
    device_hours: PositiveFloat | None = Field(
        None, description="evolution study: cap of each run of every arm, as in [budget]"
    )
    wall_hours: PositiveFloat | None = Field(
        None, description="cap of every arm (evolution study: of each of its runs) in hours"
    )


ARM_CAPS = {
    "wall_hours": "wall_hours",
    "device_hours": "device_hours",
    "tokens": "llm_tokens",
    "usd": "llm_usd",
}
"""A cap of [compare] -> the key of [budget] that holds it in the runs of an evolution study."""


DEFAULT_OPERATORS = (
    "hyperparameter_mutation",
    "unit_replacement",
    "subtree_mutation",
    "insertion",
    "removal",
    "typed_crossover",
    "layering",
    "new_unit",
    "seed_design",
)


class Experiment(Section):
    """A whole experiment, checked; made by `load_experiment`.

    `paths` are the whole paths in it, each with its place, as in ("corpus", "paths", 0).
    """

    _paths: tuple[tuple[tuple[str | int, ...], str], ...] = PrivateAttr(())

    run: RunSection = Field(default_factory=RunSection, description="The course of the run.")
    population: PopulationSection = Field(
        default_factory=PopulationSection, description="Seeds, population and parents."
    )
    corpus: CorpusOptions = Field(default_factory=CorpusOptions, description="The training text.")
    ladder: LadderSection = Field(
        default_factory=LadderSection,
        description="The ladder of scales: many small trainings, few large ones.",
    )
    selection: Component = Field(
        default_factory=lambda: Component(use="quadrant"),
        description="Selection of parents, promotions and survivors.",
    )
    operators: tuple[OperatorEntry, ...] = Field(
        default_factory=lambda: tuple(OperatorEntry(use=name) for name in DEFAULT_OPERATORS),
        min_length=1,
        description="Operators that create children from parents.",
    )
    trainer: Component = Field(
        default_factory=lambda: Component(use="torch"), description="The trainer."
    )
    evaluators: tuple[EvaluatorEntry, ...] = Field(
        default_factory=lambda: (EvaluatorEntry(use="heldout"), EvaluatorEntry(use="lm_eval")),
        min_length=1,
        description="Evaluators that score trained models.",
    )
    checkers: tuple[Component, ...] = Field(
        (), description="Additional checks that a block must pass before training."
    )
    trackers: tuple[Component, ...] = Field(
        (), description="Trackers that receive the event log during the run."
    )
    llm: LLMSection | None = Field(
        None, description="Language models for operators; without this section there are none."
    )
    knowledge: KnowledgeSection = Field(
        default_factory=KnowledgeSection, description="Knowledge base for operators."
    )
    fitness: FitnessSection = Field(
        default_factory=FitnessSection,
        description="The objective to maximise: the gain over the reference in percent.",
    )
    executor: ExecutorSection = Field(
        default_factory=ExecutorSection,
        description="Where checks and verifications run, and their resource limits.",
    )
    sandbox: SandboxSection = Field(
        default_factory=SandboxSection,
        description="How strictly candidates are isolated from the machine.",
    )
    budget: BudgetSection = Field(
        default_factory=BudgetSection,
        description="Hard caps, with warnings at 50 and 80 %; a run stopped by a cap can be"
        " resumed.",
    )
    compare: CompareSection = Field(
        default_factory=CompareSection,
        description="Arms of `genesys-engine compare`; ignored by `run`.",
    )
    plugins: PluginsSection = Field(
        default_factory=PluginsSection,
        description="Plugins to disable, to require, or to load from local files.",
    )

    def to_json(self) -> dict[str, Any]:
        """Return all of it, defaults included, in the form of the file."""
        data: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, Component):
                data[name] = value.to_json()
            elif isinstance(value, tuple):
                data[name] = [item.to_json() for item in value]
            else:
                data[name] = value.model_dump(mode="json", exclude_none=True)
        own = self.population.own
        data["population"]["seeds"] = [
            own[name].place if name in own else name for name in self.population.seeds
        ]
        return data

    @property
    def paths(self) -> tuple[tuple[tuple[str | int, ...], str], ...]:
        """The whole paths in it, each with its place."""
        return self._paths

    @property
    def digest(self) -> str:
        """SHA-256 of all that can change a result.

        Left out is what must not, and what a resumed run may therefore change: the name, the
        numbers of workers and designers, the executor, the sandbox, the trackers, the caps of
        the budget next to the designs, the lists of plugins, what is compared, and of the language
        models everything that does not tell them apart: addresses, rates, pauses.  Where a file
        lies changes none either: a path counts by its last part.
        """
        text = json.dumps(self.decisive(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def decisive(self) -> dict[str, Any]:
        """Return what `digest` is made of, in the form of the file."""
        data = self.to_json()
        population = data["population"]
        del population["from_best"]  # what it has added is among the seeds
        own = self.population.own
        population["seeds"] = [
            f"{name}@{own[name].digest}" if name in own else name for name in self.population.seeds
        ]
        if self.llm is None:  # an experiment without language models keeps the digest it had
            del data["knowledge"]
        else:
            data["llm"] = self.llm.decisive()
            # Where a base lies does not matter; a run records what is in it.
            data["knowledge"]["base"] = bool(self.knowledge.base)
        if self.fitness.relative_to == "reference":  # an experiment keeps the digest it had
            del data["fitness"]["relative_to"]
        data = deepcopy(data)  # options are the experiment's own, which a run still reads
        without_folders(data, self.paths)
        for name in ("compare", "executor", "plugins", "sandbox", "trackers"):
            del data[name]
        for name in ("name", "workers", "designers"):
            del data["run"][name]
        data["budget"] = {"designs": self.budget.designs}
        return data


def without_folders(
    data: dict[str, Any], paths: Iterable[tuple[tuple[str | int, ...], str]]
) -> None:
    """Put the last part of each path in its place, where that is in `data` at all."""
    for place, path in paths:
        inner: Any = data
        try:
            for part in place[:-1]:
                inner = inner[part]
            if inner[place[-1]] == path:
                inner[place[-1]] = PurePath(path).name
        except (LookupError, TypeError):
            continue
