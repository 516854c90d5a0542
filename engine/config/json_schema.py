"""The JSON Schema of an experiment with the components that are installed here.

With it an editor completes sections, keys, names of components and, next to `use`, the options of
the component that it names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genesys_engine.engine.common.options import JsonSchema
from genesys_engine.engine.config.components import NESTED
from genesys_engine.engine.config.load import COMPONENTS, ENTRIES, LLM_KIND
from genesys_engine.engine.config.schema import Component, Experiment, LLMSection
from genesys_engine.gab.errors import PluginError
from genesys_engine.plugins.kinds import ROLES

if TYPE_CHECKING:
    from pydantic import BaseModel

    from genesys_engine.plugins.registry import Description, Registry

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def experiment_schema(registry: Registry) -> JsonSchema:
    """Return the schema; a component that cannot be imported is allowed any option."""
    properties: JsonSchema = {}
    definitions: JsonSchema = {}
    for name, field in Experiment.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if name == "llm":
            section = _llm_schema(registry, definitions)
        elif name not in COMPONENTS:
            section = _model_schema(type(default), name, definitions)
        elif isinstance(default, tuple):
            own = ENTRIES.get(name, Component)
            items = _uses(COMPONENTS[name], own, None, registry, definitions)
            section = {"type": "array", "items": items}
            if default:
                section["minItems"] = 1
        else:
            kind = COMPONENTS[name]
            section = _uses(kind, type(default), default.use, registry, definitions)
        properties[name] = {**section, "description": field.description}
    return {
        "$schema": DIALECT,
        "title": "genesys-engine experiment",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "$defs": definitions,
    }


def _uses(
    kind: str,
    own: type[Component],
    default: str | None,
    registry: Registry,
    definitions: JsonSchema,
) -> JsonSchema:
    """Return the schema of a table that uses a component: one alternative per component."""
    descriptions = [registry.get(kind, name) for name in registry.names(kind)]
    names = [described.name for described in descriptions]
    rules = [
        {
            "if": {
                "properties": {"use": {"const": described.name}},
                # Left out, `use` has the default: then these are the options too.
                "required": [] if described.name == default else ["use"],
            },
            "then": _table(described, own, definitions),
        }
        for described in descriptions
    ]
    table: JsonSchema = {"type": "object", "properties": {"use": {"enum": names}}}
    if default is None:
        table["required"] = ["use"]
    if rules:
        table["allOf"] = rules
    return table


def _llm_schema(registry: Registry, definitions: JsonSchema) -> JsonSchema:
    """Return the schema of [llm]: a table that uses a back end, and such tables for roles.

    What a role's table may hold follows from the table that it changes, so it is left open.
    """
    section = _uses(LLM_KIND, LLMSection, None, registry, definitions)
    names = [registry.get(LLM_KIND, name).name for name in registry.names(LLM_KIND)]
    role = {"type": "object", "properties": {"use": {"enum": names}}}
    roles = {
        "type": "object",
        "properties": dict.fromkeys(ROLES, role),
        "additionalProperties": False,
        "description": LLMSection.model_fields["roles"].description,
    }
    for rule in section["allOf"]:
        rule["then"]["properties"]["roles"] = roles
    return section


def _table(described: Description, own: type[Component], definitions: JsonSchema) -> JsonSchema:
    """Return the schema of a table with one certain component."""
    shared = own.model_json_schema()
    allowed = {k: v for k, v in shared["properties"].items() if k not in NESTED}
    allowed["use"] = {"const": described.name, "description": described.summary}
    try:
        model = described.options_model()
    except PluginError:
        return {"properties": allowed}
    options: JsonSchema = {}
    if model is not None:
        options = _model_schema(model, f"{described.kind}.{described.name}", definitions)
    return {
        "properties": {**allowed, **options.get("properties", {})},
        "required": options.get("required", []),
        "additionalProperties": False,
    }


def _model_schema(model: type[BaseModel], name: str, definitions: JsonSchema) -> JsonSchema:
    """Return a model's schema; what it refers to goes into `definitions`, under its own name."""
    schema = model.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
    for key, definition in schema.pop("$defs", {}).items():
        definitions[f"{name}.{key}"] = _lone_allowed(definition)
    found: JsonSchema = _lone_allowed(schema)
    return found


def _lone_allowed(schema: Any) -> Any:
    """Return a schema that takes a lone text where a list of texts is wanted."""
    if isinstance(schema, list):
        return [_lone_allowed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    read = {key: _lone_allowed(value) for key, value in schema.items()}
    if read.get("type") != "array" or read.get("items", {}).get("type") != "string":
        return read
    about = {key: read.pop(key) for key in ("title", "description", "default") if key in read}
    return {"anyOf": [read, read["items"]], **about}
