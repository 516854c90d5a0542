"""The names of scores that an experiment relies on, against those that its evaluators will give.

A metric that nobody gives would otherwise be noticed at the first verification, after a training.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from genesys_engine.engine.config.document import Document
from genesys_engine.engine.config.schema import Component
from genesys_engine.engine.config.sections import Sections
from genesys_engine.gab.errors import PluginError
from genesys_engine.plugins.kinds import OBJECTIVES
from genesys_engine.plugins.registry import suggest
from genesys_engine.plugins.targets import load_target, read_options

if TYPE_CHECKING:
    from genesys_engine.plugins.registry import Description, Registry


ACCURACY, BITS = "accuracy", "bits_per_byte"


def check_metrics(document: Document, sections: Sections, registry: Registry) -> None:
    """Report the metrics of the fitness and of the selector that no evaluator will give.

    Nothing is reported where an evaluator does not say which scores it gives, or where evaluators
    or corpus are faulty.  A metric has to be given at every rung.
    """
    fitness, selection = sections.fitness, sections.selection
    wanted: dict[str, tuple[str, ...]] = {}  # each is reported once, at the first place
    if selection is not None:
        key = "objectives" if "objectives" in selection.options else "use"
        wanted |= dict.fromkeys(objectives(selection, registry), ("selection", key))
    if fitness is not None:
        wanted |= dict.fromkeys(fitness.metrics, ("fitness", "metric"))
    if BITS not in wanted:
        wanted[BITS] = ("evaluators",)  # every verification rests on it
    ladder, evaluators, corpus = sections.ladder, sections.evaluators, sections.corpus
    if evaluators is None or corpus is None:
        return
    scales = [] if ladder is None else [rung.scale for rung in ladder.rungs]
    everywhere = all(entry.rungs is None for entry in evaluators)
    for scale in [""] if everywhere else scales:
        entries = [entry for entry in evaluators if everywhere or entry.scores_at(scale)]
        known = _known(entries, wanted, registry, corpus.use)
        if known is None:
            continue
        for name, path in wanted.items():
            if not _given(name, known):
                own = OBJECTIVES if path[0] == "selection" else ()
                where = f" at {scale}" if scale else ""
                hint = _near(name, [*own, *known])
                if scale:
                    hint = f"remove `rungs` of its evaluator, or add {scale!r} there"
                document.report(path, f"no evaluator reports {name!r}{where}", hint)
                if scale:
                    return  # reported of one rung, it need not be reported for the others


def _known(
    entries: Sequence[Component], wanted: Iterable[str], registry: Registry, corpus: str
) -> list[str] | None:
    """Return the names that evaluators declare; None where all that is wanted is among them, or
    where one of them does not say."""
    known: list[str] = []
    for entry in entries:
        declared = _declared(registry.get("evaluator", entry.use), entry, corpus)
        if declared is None:
            return None
        known += declared
        if all(_given(name, known) for name in wanted):
            return None
    return known


def objectives(selection: Component, registry: Registry) -> tuple[str, ...]:
    """Return the metrics that a selector weighs next to the fitness."""
    found = _declared(registry.get("selector", selection.use), selection)
    return tuple(found or ())


def _declared(description: Description, entry: Component, *about: str) -> list[str] | None:
    """Return the names that a component declares, None where it declares none.

    Raises:
        PluginError: it raises, or gives something else.
    """
    ask = getattr(load_target(description.target), "metrics", None)
    if ask is None:
        return None
    try:
        found = list(ask(read_options(description.options_model(), entry.options), *about))
    except Exception as error:
        raise _broken(description, f"{type(error).__name__}: {error}") from error
    if not all(isinstance(name, str) for name in found):
        raise _broken(description, f"invalid return value: {found!r}")
    return found


def _broken(description: Description, why: str) -> PluginError:
    return PluginError(
        f"the {description.kind} {description.name!r} of {description.distribution}"
        f" {description.version} cannot list its metrics: {why}",
        hint="fix its static method `metrics`: it must return names of scores",
    )


def _given(name: str, known: Iterable[str]) -> bool:
    """Tell whether a metric is among the known ones; `accuracy` takes any task that has one."""
    if name == ACCURACY:
        tasks = (each for each in known if "/" not in each)
        return any(each == "*" or each.endswith((":acc", ":*")) for each in tasks)
    return any(name.startswith(each[:-1]) if each.endswith("*") else name == each for each in known)


def _near(name: str, known: Sequence[str]) -> str:
    """Return near names; parts of groups only where a part was meant."""
    if name == BITS:
        return "add the evaluator `heldout`"
    shown = [each for each in dict.fromkeys(known) if "/" in name or "/" not in each]
    if any("/" not in each and each.endswith(":acc") for each in known):
        shown.append(ACCURACY)
    return suggest(name, shown)
