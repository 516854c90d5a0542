"""Writes docs/experiment.md, the reference of the experiment file: python docs/experiment_page.py.

Next to it go docs/experiment.schema.json, the same for editors, and the keys that shells complete.

Everything in it comes from the models that read the file: sections, keys, types, limits, defaults,
the built-in components with their options, and the scales.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo, PydanticUndefined

from genesys_engine.engine.cli import completing
from genesys_engine.engine.cli.output import in_json
from genesys_engine.engine.common.toml_text import toml_value
from genesys_engine.engine.config.json_schema import experiment_schema
from genesys_engine.engine.config.load import COMPONENTS, LLM_KIND
from genesys_engine.engine.config.schema import Experiment, LLMSection
from genesys_engine.gab.scales import SCALES
from genesys_engine.plugins.host import BUILTIN, PluginHost
from genesys_engine.plugins.kinds import ROLES
from genesys_engine.plugins.registry import Description, Registry

PAGE = Path(__file__).with_name("experiment.md")
SCHEMA = Path(__file__).with_name("experiment.schema.json")
KEYS = completing.KEYS

HEAD = """\
# The experiment file

<!-- Written by `python docs/experiment_page.py`; change the descriptions in the code. -->

An experiment is one TOML file. A section or key that is left out has its default; a key that is
not listed here is an error with its line. `genesys-engine init` writes a file with all of it,
`genesys-engine validate FILE` shows every fault at once, and `--set section.key=VALUE` (for
`validate`, `plan`, `run`, `resume`, `compare` and `calibrate`) overrides one key. A lone value
where a list is wanted is a list of one: `seeds = "gpt"`.

`validate` also looks at what the file names and a run would miss: text that is not there or too
small, CUDA, keys and prices of language models, the knowledge base, the tasks in folders of your
own. It warns where `noise_seeds` can tell nothing. `run` begins with the same checks.

A relative path in the file is relative to the file, wherever the command is run, and so is one in
the `sets` of an arm; in a `--set` of the command line it is relative to the working folder. `~` is
your home. Errors show the whole path.

For completion and hints in an editor (VS Code with Even Better TOML, or anything with Taplo), put
`docs/experiment.schema.json` next to your file and begin it with the line
`#:schema experiment.schema.json`; `genesys-engine init` writes that line where the schema lies next
to the file. `genesys-engine config schema > experiment.schema.json` writes one that also knows the
plugins installed with you.

A section that *uses a component* names it with `use`; the component's own options stand beside it
in the same table. `genesys-engine plugins` lists what is installed.

"""


def page() -> str:
    """Return the page."""
    registry = PluginHost().registry
    lines = [HEAD.rstrip("\n")]
    for name, field in Experiment.model_fields.items():
        kind = LLM_KIND if name == "llm" else COMPONENTS.get(name)
        listed = isinstance(field.get_default(call_default_factory=True), tuple)
        header = f"[[{name}]]" if listed else f"[{name}]"
        lines += ["", f"## `{header}`", "", str(field.description)]
        if kind is None:
            lines += section(name, typing.cast(type[BaseModel], field.annotation))
        else:
            lines += uses(name, kind) if name != "llm" else uses_llm()
            lines += components(kind, registry)
    return "\n".join([*lines, *scales()]) + "\n"


def schema() -> str:
    """Return the JSON Schema, as `genesys-engine config schema` prints it without other plugins."""
    return in_json(experiment_schema(PluginHost().registry), indent=2) + "\n"


def section(path: str, model: type[BaseModel]) -> Iterator[str]:
    """Yield the table of a section's keys, then those of the tables in it."""
    inner: dict[str, type[BaseModel]] = {}
    for key, field in model.model_fields.items():
        for argument in typing.get_args(field.annotation):
            if isinstance(argument, type) and issubclass(argument, BaseModel):
                inner[key] = argument
    yield from table(row(f.alias or k, f) for k, f in model.model_fields.items() if k not in inner)
    for key, found in inner.items():
        said = sentence(str(model.model_fields[key].description))
        listed = typing.get_origin(model.model_fields[key].annotation) is tuple
        header = f"[[{path}.{key}]]" if listed else f"[{path}.{key}]"
        yield from ["", f"### `{header}`", "", said]
        yield from section(f"{path}.{key}", found)


def uses(name: str, kind: str) -> Iterator[str]:
    """Yield what a section that uses components says of them."""
    default = Experiment.model_fields[name].get_default(call_default_factory=True)
    listed = isinstance(default, tuple)
    used = default if listed else (default,)
    if not used:
        yield from ["", f"Uses any number of kind *{kind}*; default: none."]
        return
    names = ", ".join(f"`{item.use}`" for item in used)
    own = {k: f for k, f in type(used[0]).model_fields.items() if k not in ("use", "options")}
    said = f"Uses {'one or more of kind' if listed else 'one of kind'} *{kind}*; default: {names}."
    yield from ["", said + (" Giving one replaces the whole list." if listed else "")]
    if own:
        yield from table(row(key, field) for key, field in own.items())


def uses_llm() -> Iterator[str]:
    """Yield what the section [llm] says of its back ends and roles."""
    yield from ["", f"Uses one of kind *{LLM_KIND}*; `use` must be given."]
    hidden = ("use", "options", "roles")
    yield from table(row(k, f) for k, f in LLMSection.model_fields.items() if k not in hidden)
    yield from ["", "### `[llm.roles.ROLE]`", ""]
    yield f"Another model for one role ({', '.join(ROLES)}): its own `use` and options. A table"
    yield "without `use` changes single options of `[llm]`. See [llm.md](llm.md)."


def components(kind: str, registry: Registry) -> Iterator[str]:
    """Yield the built-in components of a kind: the options that all have, then those of each."""
    found = [registry.get(kind, name) for name in registry.names(kind)]
    options = {
        described: keys_of(described) for described in found if described.distribution == BUILTIN
    }
    rows = list(options.values())
    first = rows[0] if len(rows) > 1 else []
    shared = [row for row in first if all(row in other for other in rows)]
    if not options:
        yield from ["", "None is built in: they come from plugins."]
    if shared:
        yield from ["", f"Options of every {kind} here:", *table(shared)]
    for described, its in options.items():
        yield from ["", f'### `use = "{described.name}"`', "", sentence(described.summary)]
        if own := [row for row in its if row not in shared]:
            yield from table(own)


def keys_of(described: Description) -> list[str]:
    """Return the rows of a component's options; those of a table in it have dotted keys."""
    model = described.options_model()
    rows = []
    for key, field in (model.model_fields if model is not None else {}).items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            rows += [row(f"{key}.{name}", each) for name, each in inner.model_fields.items()]
        else:
            rows.append(row(key, field))
    return rows


def table(rows: Iterable[str]) -> Iterator[str]:
    """Yield a table of keys."""
    yield from ["", "| key | type | default | meaning |", "|---|---|---|---|", *rows]


def row(key: str, field: FieldInfo) -> str:
    """Return the row of a key.

    Raises:
        ValueError: the field has no description.
    """
    if not field.description:
        raise ValueError(f"{key!r} has no description")
    cells = (f"`{key}`", type_of(field), default_of(field), field.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def sentence(text: str) -> str:
    """Return words as a sentence."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


def type_of(field: FieldInfo) -> str:
    """Return the type of a key and its limits, in words."""

    class Holder(BaseModel):
        value: Any

    Holder.model_fields["value"] = field
    Holder.model_rebuild(force=True)
    return words(Holder.model_json_schema()["properties"][field.alias or "value"])


def words(schema: Mapping[str, Any]) -> str:
    """Return a JSON schema as words."""
    if "anyOf" in schema:
        return " or ".join(words(s) for s in schema["anyOf"] if s.get("type") != "null")
    if "enum" in schema:
        return " or ".join(f"`{toml_value(value)}`" for value in schema["enum"])
    if schema["type"] == "array":
        fixed = schema.get("prefixItems")
        if fixed:
            return f"list of {len(fixed)} of: {words(fixed[0])}"
        return f"list of: {words(schema['items'])}"
    name = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false"}
    name["object"] = "table"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]:.12g}" for key, sign in signs.items() if key in schema]
    return " ".join([name[schema["type"]], ", ".join(limits)]).strip()


def default_of(field: FieldInfo) -> str:
    """Return the default as TOML."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "*must be given*"
    return "" if value is None else f"`{toml_value(value)}`"


def scales() -> Iterator[str]:
    """Yield the table of scales."""
    yield from ["", "## Scales", ""]
    yield "What a rung asks for where its keys are left out. Tokens are those of a model of the"
    yield "reference size; a design is brought to within 20 % of it by the number of its blocks"
    yield "first, then by its width."
    head = ("scale", "width", "blocks", "context", "tokens per step", "peak learning rate")
    yield from ["", f"| {' | '.join(head)} | tokens per parameter |", "|---" * 7 + "|"]
    for s in SCALES.values():
        values = (s.name, s.d_model, s.n_blocks, s.context, s.batch_tokens, s.peak_lr)
        yield f"| {' | '.join(map(str, values))} | {s.tokens_per_parameter} |"


def keys() -> str:
    """Return all keys that `--set` may name, as a JSON list: what a shell completes."""
    registry, found = PluginHost().registry, []
    for name, field in Experiment.model_fields.items():
        kind = LLM_KIND if name == "llm" else COMPONENTS.get(name)
        if isinstance(field.get_default(call_default_factory=True), tuple):
            found.append(name)
        elif kind is None:
            found += dotted(name, typing.cast(type[BaseModel], field.annotation))
        else:
            found.append(f"{name}.use")
            found += dotted(name, LLMSection) if name == "llm" else []
            for each in map(partial(registry.get, kind), registry.names(kind)):
                model = each.options_model() if each.distribution == BUILTIN else None
                found += dotted(name, model) if model is not None else []
    return json.dumps(sorted(set(found)), indent=0) + "\n"


def dotted(path: str, model: type[BaseModel]) -> Iterator[str]:
    """Yield the keys of a section and of the tables in it; those of a list's first table."""
    for key, field in model.model_fields.items():
        inner = [
            each
            for each in (field.annotation, *typing.get_args(field.annotation))
            if isinstance(each, type) and issubclass(each, BaseModel)
        ]
        place = f"{path}.{field.alias or key}"
        if typing.get_origin(field.annotation) is tuple and inner:
            yield place
            place += ".0"
        for each in inner:
            yield from dotted(place, each)
        if not inner and key not in ("options", "roles"):
            yield place


if __name__ == "__main__":
    KEYS.write_text(keys(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_text(schema(), encoding="utf-8")
