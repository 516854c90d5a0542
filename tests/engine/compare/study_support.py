"""A study whose arms are scripted: real store, runner and judge; no model and no worker."""

from __future__ import annotations

from collections import Counter

from experiments.catalogue.draw import make_proposals
from genesys_engine.engine.compare import implementation
from genesys_engine.engine.compare.implementation import ImplementationStudy
from genesys_engine.engine.compare.store import StudyStore
from genesys_engine.engine.config.schema import CompareArm, CompareSection
from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.gab.unit import parse_unit
from genesys_engine.operators.llm.placing import find, place_unit
from genesys_engine.operators.llm.proposal import Implementation
from genesys_engine.plugins.api import LLMReply, LLMRequest, LLMUsage

CALL = (70, 30)  # tokens of one call, in and out


def changed(tree, path):
    """Return the tree with another constructor at `path`: other syntax, other digest."""
    unit = find(tree, path).node.unit
    source = unit.source.replace(
        "super().__init__()\n", "super().__init__()\n        self.mark = 1\n", 1
    )
    return place_unit(tree, path, parse_unit(source))


def check(tree):
    """Pass every tree; what differs in its digest differs in function."""
    return passing(tree.digest)


def passing(fingerprint):
    """Return the report of a block that passed its check."""
    measured = {"fingerprint": fingerprint}
    return DesignReport.from_json({"passed": True, "findings": [], "measurements": measured})


class Client:
    """Answers with nothing and counts what a task used."""

    def __init__(self, world, task):
        self.world, self.task, self.used = world, task, {}

    def ask(self, role, request):
        self.world.asked[self.task] += 1
        if self.world.on_ask is not None:
            self.world.on_ask(self.task)
        old = self.used.get(role, LLMUsage())
        usd = None if old.usd is None else old.usd + self.world.price
        self.used[role] = LLMUsage(
            old.calls + 1, old.input_tokens + CALL[0], old.output_tokens + CALL[1], usd
        )
        return LLMReply("")

    def usage(self):
        return dict(self.used)


class Scripted:
    """Makes so many calls and changes the units that it is told to, or fails."""

    def __init__(self, world, name, calls, done):
        self.world, self.name, self.calls, self.done = world, name, calls, done

    def implement(self, proposal, parents, context, *, token_cap=None):
        self.world.caps.append((self.name, token_cap))
        self.world.draws[self.name].append(context.rng.random())
        asked = 0
        while asked < self.calls:
            context.llm.ask("coder", LLMRequest((("user", f"{asked}"),)))
            asked += 1
            if token_cap is not None and asked * sum(CALL) >= token_cap:
                break
        tree = parents[0].tree
        for change in list(proposal.changes)[: self.done]:
            tree = changed(tree, change.path)
        outcome = "passed" if self.done else "load.error"
        entry = {"role": "coder", "outcome": outcome, "repairs": ["import added"]}
        return Implementation(tree if self.done else None, "" if self.done else outcome, asked,
                              (entry,) * asked)  # fmt: skip


class World:
    """What a test sees of the scripted arms."""

    def __init__(self, monkeypatch, price=0.0):
        self.asked, self.caps, self.on_ask, self.price = Counter(), [], None, price
        self.draws: dict[str, list[float]] = {}
        self._patch = monkeypatch
        self.told = []

    def arms(self, **scripts):
        """Script the arms: name -> (calls, units changed)."""
        self.draws = {name: [] for name in scripts}
        made = {name: Scripted(self, name, *script) for name, script in scripts.items()}
        self._patch.setattr(implementation, "open_arms", lambda section: made)
        return tuple(
            CompareArm(name=name, implementer=name if name in KNOWN else "gp") for name in scripts
        )

    def run(self, folder, section, per_stratum=1, strata=(1, 2), threads=1, **more):
        """Carry out a study and return its store, open."""
        proposals = make_proposals(1, per_stratum, strata)
        if StudyStore.exists(folder):
            store = StudyStore.open(folder, write=True)
        else:
            experiment = folder.parent / "given.toml"
            experiment.write_text("")
            store = StudyStore.create(folder, {}, experiment.read_bytes())
        study = ImplementationStudy(
            store, section, proposals, seed=1, threads=threads, check=check,
            clients=lambda task: Client(self, task), tell=self.told.append, **more,
        )  # fmt: skip
        try:
            study.run()
        except BaseException:
            store.close()
            raise
        return store, proposals


KNOWN = ("gp", "direct", "best_of_n", "sequential")


def section(arms, **values):
    """Return a [compare] of these arms."""
    return CompareSection(arms=arms, **values)


def with_limit(arms, name, count):
    """Return the arms, one of them with fewer proposals."""
    return tuple(
        arm.model_copy(update={"proposals": count}) if arm.name == name else arm for arm in arms
    )


__all__ = ["CALL", "World", "changed", "check", "passing", "section", "with_limit"]
