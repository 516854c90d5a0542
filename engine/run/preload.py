"""What the workers of an experiment import once: the modules that its plugins ask for."""

from __future__ import annotations

from collections.abc import Iterator

from genesys_engine.engine.common.options import PluginOptions
from genesys_engine.engine.run.context import Setup
from genesys_engine.gab.errors import PluginError
from genesys_engine.plugins.executors.options import SandboxOptions, preloaded_with
from genesys_engine.plugins.registry import Description
from genesys_engine.plugins.targets import load_target


def executor_options(setup: Setup) -> PluginOptions:
    """Return the executor's options; where `preload` is left out, with what this experiment uses.

    An evaluator counts where the lowest rung asks it: there most jobs are, and every process that
    is forked holds what was imported.  Further up a job imports what it needs by itself.

    Raises:
        PluginError: a plugin's `preload` is no list of names.
    """
    section = setup.experiment.executor
    model = setup.host.registry.get("executor", section.use).options_model()
    if model is None or not issubclass(model, SandboxOptions):
        return section.options
    if section.options.get("preload") is not None:
        return section.options
    modules = [name for used in _used(setup) for name in _modules(used)]
    return {**section.options, "preload": list(preloaded_with(modules))}


def _used(setup: Setup) -> Iterator[Description]:
    experiment, get = setup.experiment, setup.host.registry.get
    yield get("trainer", experiment.trainer.use)
    lowest = experiment.ladder.rungs[0].scale
    for entry in experiment.evaluators:
        if entry.scores_at(lowest):
            yield get("evaluator", entry.use)


def _modules(description: Description) -> tuple[str, ...]:
    found = getattr(load_target(description.target), "preload", ())
    if isinstance(found, tuple | list) and all(isinstance(name, str) for name in found):
        return tuple(found)
    raise PluginError(
        f"the {description.kind} {description.name!r} of {description.distribution}"
        f" {description.version} has an invalid attribute `preload`: {found!r}",
        hint='make it a tuple of names of modules, such as ("scipy.signal",)',
    )
