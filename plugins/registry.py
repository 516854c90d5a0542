"""The registry: the available components by kind and name, without importing them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genesys_engine.gab.errors import PluginError
from genesys_engine.plugins.targets import construct, load_target, options_model

if TYPE_CHECKING:
    from pydantic import BaseModel

KINDS: Mapping[str, str] = {
    "knowledge_source": "genesys_register_knowledge_sources",
    "llm_backend": "genesys_register_llm_backends",
    "trainer": "genesys_register_trainers",
    "evaluator": "genesys_register_evaluators",
    "checker": "genesys_register_checkers",
    "operator": "genesys_register_operators",
    "selector": "genesys_register_selectors",
    "executor": "genesys_register_executors",
    "tracker": "genesys_register_trackers",
    "report_section": "genesys_register_report_sections",
}
"""Kind of component -> the hook that registers it."""

WORKER_KINDS = frozenset({"trainer", "evaluator", "checker"})
"""Created in worker processes, which get the target and the options, and nothing else."""


@dataclass(frozen=True)
class Description:
    """One component: its name, its location, its options and its distribution.

    `options` is a pydantic model, a "module:Class" string that names one, or None: then the
    attribute `Options` of the target is it, if there is one.
    """

    kind: str
    name: str
    target: str
    summary: str
    distribution: str
    version: str
    options: type[BaseModel] | str | None = None

    def options_model(self) -> type[BaseModel] | None:
        """Return the options model (this imports the component), or None if it takes none.

        Raises:
            PluginError: the component cannot be imported.
        """
        return options_model(self.target, self.options)

    def require_class_options(self) -> None:
        """Check that a worker will find the options that were registered; imports the component.

        Raises:
            PluginError: it is made in workers, and its class has not the attribute `Options`.
        """
        if self.kind not in WORKER_KINDS or self.options is None:
            return
        model = self.options_model()
        if getattr(load_target(self.target), "Options", None) is not model:
            named = "" if model is None else f" = {model.__name__}"
            raise PluginError(
                f"the options of the {self.kind} {self.name!r} of {self.distribution}"
                f" {self.version} are registered, but {self.target!r} has no attribute `Options`"
                " that is the same model",
                hint=f"workers know nothing but the class: write `Options{named}` into it",
            )

    def create(self, options: Mapping[str, Any], **services: Any) -> Any:
        """Return an instance; see `targets.build`."""
        return construct(self.target, self.options_model(), options, **services)

    def to_json(self) -> dict[str, str]:
        """Return the record of a component in a run."""
        names = ("kind", "name", "target", "summary", "distribution", "version")
        return {name: getattr(self, name) for name in names}


class Registry:
    """Descriptions by (kind, name).  Filled by the host, read by everybody else."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Description] = {}
        self._contested: dict[tuple[str, str], tuple[Description, Description]] = {}
        self._absent: list[str] = []

    def register(self, *descriptions: Description) -> None:
        """Add components: all of them, or none.

        Raises:
            PluginError: a kind does not exist, or a name is taken.  A name that two
                distributions claim belongs to neither from then on.
        """
        added: dict[tuple[str, str], Description] = {}
        for description in descriptions:
            key = (description.kind, description.name)
            if description.kind not in KINDS:
                raise PluginError(
                    f"unknown kind of component {description.kind!r}",
                    hint=suggest(description.kind, KINDS),
                )
            if key in self._known or key in added:
                first = self._known.get(key) or added[key]
                self._contested[key] = (first, description)
                raise _collision(first, description)
            added[key] = description
        self._known.update(added)

    def note_absent(self, why: str) -> None:
        """Remember why a plugin is missing, to say so if one of its components is asked for."""
        self._absent.append(why)

    def get(self, kind: str, name: str) -> Description:
        """Return the component of this kind and name.

        Raises:
            PluginError: there is none (the hint gives near names and the plugins that are
                broken or disabled), or two distributions claim the name.
        """
        key = (kind, name)
        if key in self._contested:
            raise _collision(*self._contested[key])
        if key not in self._known:
            hints = [suggest(name, self.names(kind)), *self._absent]
            raise PluginError(f"unknown {kind} {name!r}", hint="; ".join(filter(None, hints)))
        return self._known[key]

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of one kind, sorted."""
        return tuple(sorted(name for k, name in self._known if k == kind))

    def descriptions(self) -> tuple[Description, ...]:
        """Return every component, sorted by kind and name."""
        return tuple(self._known[key] for key in sorted(self._known))


def _collision(first: Description, second: Description) -> PluginError:
    return PluginError(
        f"the {first.kind} {first.name!r} is registered twice: by {first.distribution} "
        f"{first.version} and by {second.distribution} {second.version}",
        hint=f'disable one of them: [plugins] disable = ["{second.distribution}"]',
    )


def suggest(wrong: str, known: Iterable[str]) -> str:
    """Return "did you mean ...?" for a similar name, else the list of names."""
    names = {name.lower(): name for name in known}
    near = difflib.get_close_matches(wrong.lower(), names, n=2, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(repr(names[name]) for name in near) + "?"
    return "there is " + ", ".join(names.values()) if names else "there is none"
