"""From a "module:Class" string and options as JSON to an instance.

This is all that a worker process knows of plugins.  A component class says which options it
takes by a class attribute `Options`, a pydantic model; it is then constructed as
`Class(options, **services)`.  A class without `Options` takes none: `Class(**services)`.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from genesys_engine.gab.errors import PluginError
from genesys_engine.plugins.kinds import PATH_RULE

if TYPE_CHECKING:
    from pydantic import BaseModel


def load_target(target: str) -> Any:
    """Import and return the object that "package.module:Name" (or ":Outer.Inner") names.

    Raises:
        PluginError: the string has another form, or the object cannot be imported.
    """
    module_name, _, path = target.partition(":")
    if not module_name or not path:
        raise PluginError(f"{target!r} is not of the form 'package.module:Class'")
    try:
        found: Any = importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin's module may do anything, even sys.exit()
        raise PluginError(
            f"cannot import {target!r}: {type(error).__name__}: {error}",
            hint="install what it needs, or mend the plugin: genesys-engine plugins --broken",
        ) from error
    return found


def options_model(
    target: str, declared: type[BaseModel] | str | None = None
) -> type[BaseModel] | None:
    """Return the options model of a component: `declared`, or the attribute `Options`."""
    found: Any = load_target(declared) if isinstance(declared, str) else declared
    if found is None:
        found = getattr(load_target(target), "Options", None)
    if found is not None and not hasattr(found, "model_validate_json"):
        raise PluginError(
            f"the options of {target!r} are not a pydantic model: {found!r}",
            hint="derive them from genesys_engine.plugins.api.Options",
        )
    if found is not None and found.model_config.get("extra") != "forbid":
        raise PluginError(
            f"the options of {target!r} would take misspelt keys without a word",
            hint="derive them from genesys_engine.plugins.api.Options",
        )
    model: type[BaseModel] | None = found
    return model


def incidental_options(model: type[BaseModel] | None, options: Mapping[str, Any]) -> frozenset[str]:
    """Return the options that change no result: see `api.INCIDENTAL` and `api.incidental_with`.

    Args:
        options: as given; an option may be incidental only together with another one.
    """
    fields = {} if model is None else model.model_fields
    marks = {
        name: field.json_schema_extra
        for name, field in fields.items()
        if isinstance(field.json_schema_extra, dict)
    }
    return frozenset(
        name
        for name, mark in marks.items()
        if mark.get("incidental") or options.get(str(mark.get("incidental_with")))
    )


def path_options(model: type[BaseModel]) -> Mapping[str, str]:
    """Return the options that hold paths, each with its rule: see `kinds.PATH`."""
    extras = {name: field.json_schema_extra for name, field in model.model_fields.items()}
    return {
        name: str(extra[PATH_RULE])
        for name, extra in extras.items()
        if isinstance(extra, dict) and PATH_RULE in extra
    }


def read_options(model: type[BaseModel] | None, options: Mapping[str, Any]) -> BaseModel | None:
    """Validate options strictly: a string is never taken for a number.

    They go through JSON, where strict validation still takes a list for a tuple, and which is
    the very form that a worker process receives.  A lone value where a list is wanted is taken for
    a list of one: `seeds = "gpt"`.

    Raises:
        pydantic.ValidationError: with one entry per wrong or unknown key.
    """
    if model is None:
        from pydantic import ConfigDict, create_model

        model = create_model("NoOptions", __config__=ConfigDict(extra="forbid", frozen=True))
        model.model_validate(dict(options))
        return None
    from pydantic import ValidationError

    plain = json.loads(json.dumps(options, default=str))
    try:
        return model.model_validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        lone = [_wrap(plain, fault) for fault in error.errors() if _is_lone(fault)]
        if not lone:
            raise
        try:
            return model.model_validate_json(json.dumps(plain), strict=True)
        except ValidationError as other:
            places = [fault["loc"] for fault in other.errors()]
            still = any(place[: len(at)] == at for place in places for at in lone)
            raise (error if still else other) from None


def _is_lone(fault: Mapping[str, Any]) -> bool:
    return fault["type"] in ("tuple_type", "list_type") and isinstance(fault["input"], str)


def _wrap(options: Any, fault: Mapping[str, Any]) -> tuple[Any, ...]:
    """Put the value of a fault into a list of one, in place, and return where it stands.

    The end of a fault's place may name a type, where several are possible.
    """
    place: list[Any] = []
    for part in fault["loc"]:
        inner = options if not place else options[place[-1]]
        if isinstance(inner, str):
            break
        options, place = inner, [*place, part]
    if isinstance(options[place[-1]], str):
        options[place[-1]] = [options[place[-1]]]
    return tuple(place)


def build(target: str, options: Mapping[str, Any], **services: Any) -> Any:
    """Return an instance of the component `target`, for use in a worker process.

    Args:
        target: "module:Class".
        options: a JSON object.
        services: further keyword arguments of its constructor (an executor's `workers` ...).

    Raises:
        PluginError: it cannot be imported, or does not take these options.
    """
    return construct(target, options_model(target), options, **services)


def construct(
    target: str, model: type[BaseModel] | None, options: Mapping[str, Any], **services: Any
) -> Any:
    """Build `target` with `options` read by `model`; see `build`."""
    read = checked_options(target, model, options)
    component = load_target(target)
    return component(**services) if read is None else component(read, **services)


def checked_options(
    target: str, model: type[BaseModel] | None, options: Mapping[str, Any]
) -> BaseModel | None:
    """Return the options of a component; raises `PluginError` where it does not take them."""
    from pydantic import ValidationError

    try:
        return read_options(model, options)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise PluginError(f"wrong options: {faults}", where=target) from error
