"""Experiments written as TOML: the commented one of `init`, and the full one of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from genesys_engine.engine.config.schema import Component, Experiment

_HEAD = """\
# An experiment for genesys-engine.  Every key may be left out: it then has the value
# that stands here.  A key behind "#" has no value unless you give it one.
# Check this file:  genesys-engine validate FILE
# Know its cost:    genesys-engine plan FILE
"""

_LLM = """\
[llm]
use = "litellm"
model = "openai/gpt-4o-mini"   # the key comes from the environment: OPENAI_API_KEY
[llm.roles.observer]           # other models or options for some roles
model = "openai/gpt-4o"

"""


def template() -> str:
    """Return a commented experiment that holds every section with its defaults."""
    lines = [_HEAD]
    for name, field in Experiment.model_fields.items():
        default = field.get_default(call_default_factory=True)
        lines.append(f"# {field.description}")
        if isinstance(default, tuple):
            for item in default:
                lines += [f"[[{name}]]", *_component(item), ""]
            if not default:
                lines += [f"# [[{name}]]", '# use = ""', ""]
        elif isinstance(default, Component):
            lines += [f"[{name}]", *_component(default), ""]
        elif default is None:
            lines += [f"# {line}" if line else "" for line in _LLM.splitlines()]
        else:
            lines += [f"[{name}]", *_section(default, name), ""]
    return "\n".join(lines)


def to_toml(experiment: Experiment) -> str:
    """Return the whole experiment, overrides and defaults included, as a file to run again."""
    return tables_to_toml(experiment.to_json())


def tables_to_toml(tables: Mapping[str, Any]) -> str:
    """Return an experiment in the JSON that `Experiment.to_json` gives (and a run keeps)."""
    return "\n".join(_tables((), tables)).lstrip("\n") + "\n"


def _component(component: Component) -> Iterator[str]:
    for key, field in type(component).model_fields.items():
        if key != "options":
            if key not in ("use", "weight"):  # these explain themselves
                yield f"# {field.description}"
            value = getattr(component, key)
            yield f"# {key} =" if value is None else f"{key} = {toml_value(value)}"


def _section(section: BaseModel, path: str) -> Iterator[str]:
    tables: list[str] = []
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for item in value:
                tables += ["", f"# {field.description}"] if not tables else [""]
                tables += [f"[[{path}.{key}]]", *_section(item, f"{path}.{key}")]
            continue
        if field.description:
            yield f"# {field.description}"
        written = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        named = field.alias or key
        yield f"# {named} =" if value is None else f"{named} = {toml_value(written)}"
    yield from tables


def _tables(path: tuple[str, ...], table: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a table: its own values first, then the tables in it."""
    inner = {key: value for key, value in table.items() if _is_tables(value)}
    if path and (len(inner) < len(table) or not inner):
        yield f"[{'.'.join(map(toml_key, path))}]"
    for key, value in table.items():
        if key not in inner and value is not None:
            yield f"{toml_key(key)} = {toml_value(value)}"
    for key, value in inner.items():
        if isinstance(value, Mapping):
            yield ""
            yield from _tables((*path, key), value)
            continue
        for item in value:
            yield ""
            yield f"[[{'.'.join(map(toml_key, (*path, key)))}]]"
            yield from (
                f"{toml_key(k)} = {toml_value(v)}" for k, v in item.items() if v is not None
            )


def _is_tables(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, Mapping) for item in value)
    return isinstance(value, Mapping)


def toml_key(key: str) -> str:
    """Return a key as TOML has it, in quotes where it needs some."""
    bare = key.replace("-", "").replace("_", "")
    return key if bare.isascii() and bare.isalnum() else toml_value(key)


def toml_value(value: Any) -> str:
    """Return JSON data as a TOML value on one line.

    A TOML basic string knows all escapes that JSON writes; only DEL needs one more.
    """
    if isinstance(value, Mapping):
        inside = ", ".join(
            f"{toml_key(k)} = {toml_value(v)}" for k, v in value.items() if v is not None
        )
        return f"{{{inside}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
