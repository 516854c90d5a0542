"""What no single section can know: names that must exist, keys that must agree."""

from __future__ import annotations

from pathlib import Path

from genesys_engine.engine.common.text import plural
from genesys_engine.engine.config.components import report_endless
from genesys_engine.engine.config.document import Document
from genesys_engine.engine.config.metrics import check_metrics
from genesys_engine.engine.config.schema import (
    ARM_CAPS,
    CompareSection,
    EvaluatorEntry,
    LadderSection,
    OperatorEntry,
    PopulationSection,
    SandboxSection,
)
from genesys_engine.engine.config.sections import Sections
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.builtin import LLM_OPERATORS
from genesys_engine.plugins.registry import Registry, suggest


def check(document: Document, sections: Sections, registry: Registry) -> None:
    """Report what is wrong between values; sections that are None are faulty already."""
    if sections.population:
        _population(document, sections.population)
    if sections.ladder:
        _ladder(document, sections.ladder)
    if sections.sandbox:
        _sandbox(document, sections.sandbox)
    if sections.compare:
        _compare(document, sections.compare)
    if sections.operators:
        _llm_operators(document, sections.operators, registry)
    if sections.evaluators and sections.ladder:
        _evaluator_rungs(document, sections.evaluators, sections.ladder)
    if sections.evaluators and sections.corpus:
        check_metrics(document, sections, registry)
    if sections.ladder and sections.population:
        first, seeds = sections.ladder.rungs[0], sections.population.seeds
        if first.verifications < len(seeds):
            document.report(
                ("ladder", "rungs", 0, "verifications"),
                f"{plural(first.verifications, 'verification')} cannot hold"
                f" the {plural(len(seeds), 'seed')}",
                f"give at least {len(seeds)}, or fewer population.seeds",
            )


def _population(document: Document, population: PopulationSection) -> None:
    written = document.data.get("population", {}).get("seeds", population.seeds)
    all_read = len(population.seeds) >= len(set(written))
    if all_read and population.reference not in population.seeds:  # else it may be the faulty one
        document.report(
            ("population", "reference"),
            f"the reference {population.reference!r} is not one of population.seeds",
            suggest(population.reference, population.seeds),
        )
    total = sum(population.parents)
    if abs(total - 1) > 1e-6:
        document.report(("population", "parents"), f"the probabilities sum to {total:g}, not to 1")


def _llm_operators(
    document: Document, operators: tuple[OperatorEntry, ...], registry: Registry
) -> None:
    """Report operators that would never apply, and templates and names that they cannot use."""
    for index, entry in enumerate(operators):
        if entry.use not in LLM_OPERATORS:
            continue
        if "llm" not in document.data:
            message = f"the operator {entry.use!r} needs a language model, but [llm] is missing"
            hint = 'add [llm], for example with use = "litellm" and a model; see docs/llm.md'
            document.report(("operators", index, "use"), message, hint)
            continue
        try:
            registry.get("operator", entry.use).create(entry.options)
        except InputError as error:
            where = f"{error.where}: " if error.where else ""
            document.report(("operators", index), f"{where}{error.message}", error.hint)


def _evaluator_rungs(
    document: Document, evaluators: tuple[EvaluatorEntry, ...], ladder: LadderSection
) -> None:
    """Report evaluators that are asked at no rung, or at one that the ladder does not have."""
    scales = [rung.scale for rung in ladder.rungs]
    for index, entry in enumerate(evaluators):
        place = ("evaluators", index, "rungs")
        if entry.rungs == ():
            hint = f"name some of {', '.join(scales)}, or omit `rungs`"
            document.report(place, f"the evaluator {entry.use!r} is used at no rung", hint)
        for number, scale in enumerate(entry.rungs or ()):
            if scale not in scales:
                message = f"the ladder has no rung {scale!r}"
                document.report((*place, number), message, suggest(scale, scales))


def _sandbox(document: Document, sandbox: SandboxSection) -> None:
    for index, path in enumerate(sandbox.readable):
        if not Path(path).exists():
            document.report(("sandbox", "readable", index), f"nothing at {path!r}")


_SHARED_CAPS = {"budget", *(f"budget.{key}" for key in ARM_CAPS.values())}


def _compare(document: Document, compare: CompareSection) -> None:
    from genesys_engine.operators.llm.implementers import IMPLEMENTERS

    names = [arm.name for arm in compare.arms]
    for index, arm in enumerate(compare.arms):
        place = ("compare", "arms", index)
        if arm.name in names[:index]:
            document.report((*place, "name"), f"the arm {arm.name!r} is named twice")
        if compare.study == "implementation" and arm.implementer not in IMPLEMENTERS:
            message = f"unknown implementer {arm.implementer!r}"
            document.report(
                (*place, "implementer"), message, suggest(arm.implementer, IMPLEMENTERS)
            )
        report_endless(document, (*place, "options"), arm.options)
        for each in arm.sets:
            if (name := each.partition("=")[0].strip()) in _SHARED_CAPS:
                message = f"the arm {arm.name!r} sets {name}, but all arms share the same caps"
                hint = "set it in [budget], or give the cap in [compare]"
                document.report((*place, "sets"), message, hint)
    if compare.study == "implementation" and compare.device_hours is not None:
        message = "an implementation study trains nothing, so it has no device hours"
        hint = "cap the arms by tokens, usd or wall_hours"
        document.report(("compare", "device_hours"), message, hint)
    if compare.equal_to and compare.equal_to not in names:
        message = f"the arm {compare.equal_to!r} is none of compare.arms"
        document.report(("compare", "equal_to"), message, suggest(compare.equal_to, names))
    if compare.proposals and not Path(compare.proposals).is_dir():
        message = f"no folder {compare.proposals}"
        document.report(("compare", "proposals"), message)


def _ladder(document: Document, ladder: LadderSection) -> None:
    from genesys_engine.gab.scales import SCALES

    order = list(SCALES)
    highest = -1
    for index, rung in enumerate(ladder.rungs):
        path = ("ladder", "rungs", index, "scale")
        if rung.scale not in SCALES:
            document.report(path, f"unknown scale {rung.scale!r}", suggest(rung.scale, order))
            continue
        rank = order.index(rung.scale)
        if rank <= highest:
            document.report(
                path,
                f"scale {rung.scale} does not lie above {order[highest]}",
                "order the rungs from the smallest scale to the largest, each once",
            )
        highest = max(highest, rank)
    _upper_rungs(document, ladder)


def _upper_rungs(document: Document, ladder: LadderSection) -> None:
    """Report rungs that the reference alone would be trained at; finals train at the top one."""
    top = len(ladder.rungs) - 1
    for index, rung in enumerate(ladder.rungs):
        own = rung.noise_seeds
        if index == 0 or rung.verifications > own or (index == top and ladder.finalists):
            continue
        document.report(
            ("ladder", "rungs", index, "verifications"),
            f"verifications = {rung.verifications} at {rung.scale} leaves nothing besides the"
            f" reference, which uses noise_seeds = {own} of them",
            f"give at least {own + 1}" + (", or [ladder] finalists" * (index == top)),
        )
