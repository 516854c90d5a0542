"""The seeds of an experiment: designs of the library, a user's own files, those of another run.

An own design is read when the experiment is: a tree from its JSON, a block file as text (it never
runs here), a design of a run from its store.  From then on it is known by its name, and the run
keeps the tree itself, so that it can be resumed wherever the file has gone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from genesys_engine.engine.config.document import Document
from genesys_engine.engine.config.paths import whole_path
from genesys_engine.engine.config.schema import OwnSeed, PopulationSection
from genesys_engine.gab.errors import GenesysError, InputError
from genesys_engine.plugins.registry import suggest

SUFFIXES = (".json", ".py")
_DESIGN = re.compile(r"(?P<run>.+):(?P<design>\d+)")
_LARGEST = 4 << 20  # bytes of a file


@dataclass(frozen=True)
class _Found:
    """One seed: its name, and its tree where it is not of the library."""

    name: str
    own: OwnSeed | None = None


def read_seeds(document: Document, section: PopulationSection) -> PopulationSection:
    """Return the section with every seed by its name, and the trees of those that are own ones.

    Faults are reported at their places; paths are relative to the file.
    """
    found: dict[str, OwnSeed | None] = {}
    names: dict[str, str] = {}  # as written -> name
    for index, written in enumerate(section.seeds):
        place = ("population", "seeds", index)
        try:
            seed = _read(written, document.folder_of(place))
        except GenesysError as error:
            _report(document, place, error, written)
            continue
        if seed.name in found:
            document.report(place, f"the seed {seed.name!r} is named twice")
        found[seed.name] = seed.own
        names[written] = seed.name
    if section.from_run:
        found |= _of_run(document, section, found)
    return section.with_seeds(found, names.get(section.reference, section.reference))


def _report(
    document: Document, place: tuple[str | int, ...], error: GenesysError, written: str
) -> None:
    where = f"{error.where}: " if error.where and error.where != written else ""
    document.report(place, f"{where}{error.message}", error.hint)


def _read(written: str, folder: Path) -> _Found:
    """Read one entry of `population.seeds`; a path is relative to `folder`."""
    from genesys_engine.gab.library import design_names

    known = design_names()
    if written in known:
        return _Found(written)
    path, design = whole_path(written, folder), _DESIGN.fullmatch(written)
    if design and (run := whole_path(design["run"], folder)).is_dir():
        return _of_design(run, int(design["design"]))
    if path.suffix not in SUFFIXES:
        hint = f"{suggest(written, known)} (a design of your own is a .json or .py file, or RUN:ID)"
        raise InputError(f"unknown seed {written!r}", hint=hint)
    return _of_file(path)


def _of_file(path: Path) -> _Found:
    """Read a tree's JSON or a block file."""
    from genesys_engine.gab.adopt import adopt_block
    from genesys_engine.gab.tree import GABTree

    text = _text(path)
    name, change = path.name, None
    if path.suffix == ".py":
        tree = adopt_block(text, where=str(path))
    else:
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            line = getattr(error, "lineno", 1)
            raise InputError(f"not JSON: {error}", where=f"{path}:{line}") from None
        try:
            tree = GABTree.from_json(data)
        except GenesysError as error:
            where = f"{path}: {error.where}" if error.where else str(path)
            raise InputError(error.message, where=where, hint=error.hint) from None
        name, change = str(data.get("name", name)), data.get("change")
    try:
        tree.validate()
    except GenesysError as error:
        raise InputError(error.message, where=f"{path}: {error.where}", hint=error.hint) from None
    change_text = str(change or f"Seed design {name}.")
    return _Found(name, OwnSeed(tree.to_json(), tree.digest, change_text, str(path)))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise InputError(
            f"no file {path}", hint="paths are relative to the experiment file"
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > _LARGEST:
        raise InputError(f"{path} is larger than {_LARGEST >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text", hint="save it as UTF-8") from None


def _of_design(run: Path, design: int) -> _Found:
    """Read a design of another run."""
    from genesys_engine.engine.store.run_store import Store

    with Store.open(run) as store:
        row = store.design(design)
        if not row.accepted:
            raise InputError(
                f"design {design} of {run} was rejected by its check",
                hint=f"see it: genesys-engine show {run} {design}",
            )
        if reason := store.disqualification(design):
            raise InputError(f"design {design} of {run} is disqualified: {reason}")
        change = f"Design {design} of {run.name}: {row.change}"
        own = OwnSeed(store.tree(design), row.digest, change, f"{run}:{design}")
        return _Found(f"{run.name}:{design}", own)


def _of_run(
    document: Document,
    section: PopulationSection,
    known: Mapping[str, OwnSeed | None],
) -> dict[str, OwnSeed | None]:
    """Return the best designs of another run that are no seeds already."""
    from genesys_engine.engine.store.run_store import Store
    from genesys_engine.gab.library import design_names, seed

    assert section.from_run
    place = ("population", "from")
    run = whole_path(section.from_run, document.folder_of(place))
    digests = {own.digest if own else seed(name).digest for name, own in known.items()}
    library = {f"seed:{name}" for name in design_names()}
    found: dict[str, OwnSeed | None] = {}
    try:
        with Store.open(run) as store:
            for row in store.leaderboard():
                if len(found) == section.from_best:
                    break
                if row.operator not in library and row.digest not in digests:
                    one = _of_design(run, row.id)
                    found[one.name] = one.own
    except GenesysError as error:
        _report(document, place, error, section.from_run)
        return {}
    if not found:
        message = f"the run {run} has no verified design except seeds of the library"
        document.report(place, message, "name seeds of the library in population.seeds")
    return found


def kept_seed(name: str, own: OwnSeed) -> dict[str, JsonValue]:
    """Return the file that a run keeps of an own seed: its tree, and what it is called."""
    return {**own.tree, "name": name, "change": own.change}
