"""Experiments written as TOML: the commented one of `init`, and the full one of a run."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from genesys_engine.engine.common.toml_text import tables_to_toml, toml_value
from genesys_engine.engine.config.schema import Component, Experiment

_HEAD = """\
# An experiment for genesys-engine.  Every key is optional; its default is the value
# shown here.  A key behind "#" has no default value.
# Check this file:  genesys-engine validate FILE
# Estimate cost:    genesys-engine plan FILE
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
