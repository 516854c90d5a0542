"""The back ends that an experiment names: made once each, looked at before anything is spent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from genesys_engine.engine.common.canonical import canonical_json
from genesys_engine.engine.common.redact import hide_key
from genesys_engine.engine.config.schema import Component, Experiment, LLMSection, without_folders
from genesys_engine.engine.llm.outage import Fault, Outage
from genesys_engine.engine.llm.recording import TOOK
from genesys_engine.gab.errors import GenesysError, InputError, PluginError
from genesys_engine.plugins.api import ROLES, LLMBackend, LLMPrice, LLMReply, LLMRequest
from genesys_engine.plugins.llm.replay import ReplayBackend, ReplayOptions, recorded_reply
from genesys_engine.plugins.targets import incidental_options, path_options, read_options

if TYPE_CHECKING:
    from genesys_engine.plugins.registry import Registry


@dataclass
class Model:
    """One model: its back end and how it does.

    `name` tells models apart: the back end and those of its options that change an answer.
    `where` is its table in the experiment; `recording` holds replies of its own to continue from.
    """

    name: str
    where: str
    backend: LLMBackend
    outage: Outage = field(default_factory=lambda: Outage(lambda reason: None))
    recording: ReplayBackend | None = None
    bare: dict[str, str] = field(default_factory=dict)
    """Roles whose schemas the service refuses, and its message: they are asked without."""

    @property
    def address(self) -> str:
        """Where it is asked, "" where its back end does not say."""
        return str(getattr(self.backend, "address", ""))

    @property
    def place(self) -> str:
        """The name and the address, for messages."""
        return f"{self.name} at {self.address}" if self.address else self.name

    def prepare(self) -> None:
        """Look whether it can be asked: a key, a file.

        Raises:
            InputError: something is missing; reported before anything is spent.
        """
        if self.recording is not None:
            self.recording.prepare()
        prepare: Callable[[], None] | None = getattr(self.backend, "prepare", None)
        if prepare is not None:
            prepare()

    def complete(self, request: LLMRequest, sent: LLMRequest) -> LLMReply:
        """Return the recorded reply to `request` where there is one, else ask what is `sent` of
        it; see `LLMBackend`."""
        call = None if self.recording is None else self.recording.find(request)
        if call is None:
            return self.backend.complete(sent)
        return recorded_reply(call, {TOOK: call.get("latency_s", 0.0)})

    @property
    def price(self) -> LLMPrice | None:
        """US dollars for a token, None where nobody knows."""
        price: LLMPrice | None = getattr(self.backend, "price", None)
        return price

    def demand_price(self) -> None:
        """Raise `InputError` if a cap in US dollars could not be kept."""
        if self.price is None:
            raise InputError(
                f"the price of {self.name} is unknown, so a cap in US dollars cannot be kept",
                where="[budget] llm_usd",
                hint="set its price in [llm] (input_usd_per_million, output_usd_per_million),"
                " or cap llm_tokens instead",
            )


def model_name(registry: Registry, component: Component) -> str:
    """Return what tells a model from others: `use` and the options that are not its defaults."""
    model = registry.get("llm_backend", component.use).options_model()
    if model is None:
        return component.use
    read = read_options(model, component.options)
    assert read is not None
    given = read.model_dump(mode="json", exclude_defaults=True)
    incidental = incidental_options(model, given)
    decisive = {k: v for k, v in given.items() if k not in incidental}
    without_folders(decisive, [((k,), v) for k, v in decisive.items() if k in path_options(model)])
    return f"{component.use} {canonical_json(decisive)}" if decisive else component.use


def model_names(section: LLMSection, registry: Registry) -> dict[str, str]:
    """Return role -> what tells its model from others."""
    return {role: model_name(registry, section.roles.get(role, section)) for role in ROLES}


def check_llm_setup(experiment: Experiment, registry: Registry) -> None:
    """Look whether every model of an experiment can be asked and every cap can be kept.

    Nothing is spent; a file that is identified by its digest is read.

    Raises:
        InputError: a key or a file is missing, or a price is unknown that a cap needs.
    """
    if experiment.llm is None:
        return
    models = open_models(experiment.llm, registry, lambda name, reason: None)
    for model in {id(model): model for model in models.values()}.values():
        try:
            model.prepare()
            if experiment.budget.llm_usd is not None:
                model.demand_price()
        finally:
            model.backend.close()


def open_models(
    section: LLMSection, registry: Registry, tell: Callable[[str, Fault | None], None]
) -> Mapping[str, Model]:
    """Return the model of every role; roles with equal tables share one.

    Args:
        tell: called with (model, fault) when one is out, and (model, None) when it is back.

    Raises:
        PluginError: a back end cannot be made.
    """
    made: dict[str, Model] = {}
    found: dict[str, Model] = {}
    for role in ROLES:
        component: Component = section.roles.get(role, section)
        own = role in section.roles
        key = canonical_json([component.use, component.options])
        if key not in made:
            where = f"[llm.roles.{role}]" if own else "[llm]"
            made[key] = _open(registry, component, section.recording, where, tell)
        found[role] = made[key]
    return found


def _open(
    registry: Registry,
    component: Component,
    recording: str,
    where: str,
    tell: Callable[[str, Fault | None], None],
) -> Model:
    description = registry.get("llm_backend", component.use)
    name = model_name(registry, component)
    hide_key(description.options_model(), component.options)
    try:
        backend: Any = description.create(component.options)
    except GenesysError:
        raise
    except Exception as error:
        raise PluginError(
            f"cannot be started: {type(error).__name__}: {error}",
            where=f"LLM back end {component.use} of {description.distribution}",
        ) from error
    recorded = ReplayBackend(ReplayOptions(path=recording, model=name)) if recording else None
    return Model(name, where, backend, Outage(lambda fault: tell(name, fault)), recorded)
