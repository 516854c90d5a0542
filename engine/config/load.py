"""From a TOML file and `--set` overrides to an `Experiment`, or to all that is wrong with it."""

from __future__ import annotations

import codecs
import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli

from genesys_engine.engine.common.options import TomlTable
from genesys_engine.engine.config import checks, positions
from genesys_engine.engine.config.components import read_component
from genesys_engine.engine.config.document import Document
from genesys_engine.engine.config.hints import toml_hint
from genesys_engine.engine.config.overrides import apply_override
from genesys_engine.engine.config.paths import whole_paths
from genesys_engine.engine.config.positions import Positions
from genesys_engine.engine.config.problems import ConfigError, Problem
from genesys_engine.engine.config.schema import (
    Component,
    EvaluatorEntry,
    Experiment,
    LLMSection,
    OperatorEntry,
)
from genesys_engine.engine.config.sections import Sections
from genesys_engine.engine.config.seeds import read_seeds
from genesys_engine.engine.config.source import Source, Tables
from genesys_engine.engine.config.validate import validate
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.kinds import ROLES
from genesys_engine.plugins.registry import suggest

if TYPE_CHECKING:
    from genesys_engine.plugins.registry import Registry

COMPONENTS: Mapping[str, str] = {
    "selection": "selector",
    "operators": "operator",
    "trainer": "trainer",
    "evaluators": "evaluator",
    "checkers": "checker",
    "trackers": "tracker",
    "executor": "executor",
}
"""Sections that use components -> the kind of component."""
ENTRIES: Mapping[str, type[Component]] = {
    "operators": OperatorEntry,
    "evaluators": EvaluatorEntry,
}
"""Lists of components with keys of their own next to `use` -> their model."""
LLM_KIND = "llm_backend"


def load_experiment(
    path: Path | str,
    sets: Sequence[str] = (),
    registry: Registry | None = None,
    folder: Path | None = None,
) -> Experiment:
    """Read, override and check an experiment.

    Args:
        path: the TOML file.
        sets: overrides "section.key=VALUE", VALUE in TOML or a bare string.
        registry: the components there are; None asks the installed plugins, less those that
            the experiment disables.
        folder: what relative paths in `sets` are relative to; None: the working folder.  Those
            in the file are relative to the file.

    Raises:
        InputError: the file cannot be read.
        ConfigError: with every fault in it.
    """
    return load_source(read_source(Path(path), sets), registry, folder)


def load_source(
    source: Source, registry: Registry | None = None, folder: Path | None = None
) -> Experiment:
    """Override and check an experiment whose text was read; the same arguments and errors."""
    document = _document(source)
    for text in source.sets:
        apply_override(document, text, folder)
    document.raise_problems()  # a broken override would only lead to false conclusions
    return read_experiment(document, registry)


def read_kept(tables: TomlTable, path: Path, sets: Sequence[str], registry: Registry) -> Experiment:
    """Read an experiment from what a run keeps of it (`Experiment.to_json`).

    [compare] is left out: a run makes no use of it, and earlier versions knew other keys there.

    Args:
        path: of the run's copy of the file, which relative paths would be relative to.
    """
    used = {name: table for name, table in tables.items() if name != "compare"}
    document = Document(str(path), copy.deepcopy(used), Positions("", {}, {}))
    for text in sets:
        apply_override(document, text)
    return read_experiment(document, registry)


def read_source(path: Path, sets: Sequence[str] = ()) -> Source:
    """Read the text of a TOML file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            "no such file", where=str(path), hint="create one: genesys-engine init"
        ) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    return Source(str(path), text, path.parent, tuple(sets))


def _document(source: Source) -> Document:
    """Read the TOML of a source, with the places of everything in it.

    Raises:
        ConfigError: it is not TOML; the fault has its place.
    """
    if source.tables is not None:
        return Tables(copy.deepcopy(source.tables), source.folder)
    name = source.name
    raw = source.text.removeprefix(codecs.BOM_UTF8)  # what some editors begin a file with
    try:
        text = raw.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", "replace").replace("\r\n", "\n")
        place = positions.place(before + "\ufffd", len(before), len(before) + 1)
        problem = Problem("not UTF-8 text", name, place, "save the file as UTF-8")
        raise ConfigError([problem]) from None
    try:
        return Document(name, tomli.loads(text), positions.locate(text))
    except tomli.TOMLDecodeError as error:
        offset = min(error.pos, len(text.rstrip("\n")))
        place = positions.place(text, offset, offset + 1)
        hint = toml_hint(text, offset)
        problem = Problem(f"not TOML: {error.msg}", name, place, hint)
        raise ConfigError([problem]) from None
    except RecursionError:
        raise InputError("nested too deeply", where=name) from None


def read_experiment(document: Document, registry: Registry | None = None) -> Experiment:
    """Check a document section by section.

    Raises:
        ConfigError: with every fault in it.
    """
    known = Experiment.model_fields
    for name in document.data:
        if name not in known:
            document.report_key((name,), f"unknown section [{name}]", suggest(name, known))
    sections = {
        "plugins": _plugins(document),
        "population": _population(document),
        "knowledge": _knowledge(document),
    }
    if registry is None:
        registry = _installed(document, sections["plugins"])
    for name in known:
        if name == "llm":
            sections[name] = _llm(document, registry)
        elif name in COMPONENTS:
            sections[name] = _components(document, name, registry)
        elif name not in sections:
            sections[name] = _section(document, name)
    checks.check(document, Sections(**sections), registry)
    document.raise_problems()
    experiment = Experiment(**sections)
    experiment._paths = tuple(document.paths.items())
    return experiment


def _installed(document: Document, section: Any) -> Registry:
    """Return the registry of the installed plugins; report required ones that don't work."""
    from genesys_engine.gab.errors import PluginError
    from genesys_engine.plugins.host import PluginHost

    host = PluginHost(section.disable, section.local) if section else PluginHost()
    for index, name in enumerate(section.require if section else ()):
        try:
            host.require([name])
        except PluginError as error:
            document.report(("plugins", "require", index), error.message, error.hint)
    return host.registry


def _plugins(document: Document) -> Any:
    """Return the section [plugins], or None if it is faulty."""
    section = _section(document, "plugins")
    for index, path in enumerate(section.local if section else ()):
        if not Path(path).exists():
            document.report(("plugins", "local", index), f"nothing at {path}")
    return section


def _knowledge(document: Document) -> Any:
    """Return the section [knowledge], or None if it is faulty."""
    section = _section(document, "knowledge")
    if section and section.base and not Path(section.base).is_dir():
        hint = f"create one: genesys-engine knowledge add PATH --base {section.base}"
        document.report(("knowledge", "base"), f"no knowledge base at {section.base}", hint)
    return section


def _population(document: Document) -> Any:
    """Return the section [population] with its seeds read, or None if it is faulty."""
    section = _section(document, "population")
    return None if section is None else read_seeds(document, section)


def _section(document: Document, name: str) -> Any:
    """Return the model of a section without components, or None if it is faulty."""
    model: Any = Experiment.model_fields[name].annotation
    table = document.data.get(name, {})
    if not isinstance(table, dict):
        document.report((name,), f"{name!r} must be a table", f"write it as [{name}]")
        return None
    if name == "run":
        table = {"name": Path(document.source).stem} | table
    table = whole_paths(document, model, (name,), table)
    if name == "compare":
        table = _arms(document, table)
    return validate(document, (name,), model, table)


def _arms(document: Document, table: TomlTable) -> TomlTable:
    """Return [compare] with whole paths in the options of its arms' implementers."""
    from genesys_engine.operators.llm.options import ImplementerOptions

    arms = table.get("arms")
    if not isinstance(arms, list):
        return table
    made = []
    for index, arm in enumerate(arms):
        if isinstance(arm, dict) and isinstance(options := arm.get("options"), dict):
            place = ("compare", "arms", index, "options")
            arm = arm | {"options": whole_paths(document, ImplementerOptions, place, options)}
        made.append(arm)
    return table | {"arms": made}


def _components(document: Document, name: str, registry: Registry) -> Any:
    """Return the component or the components of a section, or None if one is faulty."""
    field = Experiment.model_fields[name]
    default = field.get_default(call_default_factory=True)
    kind = COMPONENTS[name]
    if not isinstance(default, tuple):
        table = document.data.get(name, {})
        if not isinstance(table, dict):
            document.report((name,), f"{name!r} must be one table", f"write it as [{name}]")
            return None
        return read_component(document, (name,), kind, type(default), default.use, registry)
    items = document.data.setdefault(name, [{"use": item.use} for item in default])
    empty = bool(default) and not items  # none at all is allowed where it is the default
    if not isinstance(items, list) or empty or not all(isinstance(i, dict) for i in items):
        document.report((name,), f"{name!r} must be a list of tables", f"write each as [[{name}]]")
        return None
    model = ENTRIES.get(name, Component)
    read = [
        read_component(document, (name, index), kind, model, None, registry)
        for index in range(len(items))
    ]
    return None if any(item is None for item in read) else tuple(read)


def _llm(document: Document, registry: Registry) -> LLMSection | None:
    """Return the section [llm], None where there is none or it is faulty."""
    table = document.data.get("llm")
    if table is None:
        return None
    if not isinstance(table, dict):
        document.report(("llm",), "'llm' must be one table", "write it as [llm]")
        return None
    base = read_component(document, ("llm",), LLM_KIND, LLMSection, None, registry)
    roles = _roles(document, table, base, registry)
    return base.model_copy(update={"roles": roles}) if base is not None else None


def _roles(
    document: Document, table: TomlTable, base: LLMSection | None, registry: Registry
) -> dict[str, Component]:
    """Return the models of [llm.roles.NAME]; a table without `use` changes options of [llm]."""
    roles = table.get("roles", {})
    if not isinstance(roles, dict):
        document.report(
            ("llm", "roles"), "'roles' must be tables", "write each as [llm.roles.NAME]"
        )
        return {}
    found: dict[str, Component] = {}
    for role, changes in roles.items():
        path = ("llm", "roles", role)
        if role not in ROLES:
            document.report_key(path, f"unknown role {role!r}", suggest(role, ROLES))
        elif not isinstance(changes, dict):
            document.report(path, f"{role!r} must be a table", f"write it as [llm.roles.{role}]")
        elif "use" in changes or base is not None:
            if "use" not in changes and base is not None:
                own = LLMSection.model_fields
                inherited = {
                    key: base.options.get(key, value)  # with whole paths
                    for key, value in table.items()
                    if key not in own
                }
                roles[role] = {"use": base.use} | inherited | changes
            read = read_component(document, path, LLM_KIND, Component, None, registry)
            if read is not None:
                found[role] = read
    return found
