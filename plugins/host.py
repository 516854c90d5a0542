"""The host: finds plugins, registers their components, and calls hooks.

Every plugin is loaded and called separately.  A plugin that cannot be loaded, or raises while
registering, is recorded as broken and ignored; it stops only experiments that use it.  The order
is fixed (built-ins, then by distribution and name), so equal installations behave equally.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import pluggy

from genesys_engine import __version__
from genesys_engine.gab.errors import PluginError
from genesys_engine.plugins import builtin, hookspecs
from genesys_engine.plugins.local import DISTRIBUTION as LOCAL
from genesys_engine.plugins.local import find_local
from genesys_engine.plugins.registry import KINDS, Description, Registry, suggest
from genesys_engine.plugins.vetting import HEAVY, HookFault, check_engine_version, place_of, vet

if TYPE_CHECKING:
    import click
    from pydantic import BaseModel

GROUP = hookspecs.PROJECT
DISABLE_VARIABLE = "GENESYS_DISABLE_PLUGINS"
BUILTIN = "genesys-engine"


@dataclass(frozen=True)
class PluginRecord:
    """One plugin and its state.

    `where` is the hook (or "import") that failed, `location` its file:line, `fix` the remedy.
    `origin` is the folder in which it was found, `seconds` its loading time, `heavy` the large
    modules that it imported.
    """

    distribution: str
    version: str
    name: str
    target: str
    status: Literal["active", "disabled", "broken", "silenced"] = "active"
    where: str = ""
    location: str = ""
    message: str = ""
    fix: str = ""
    origin: str = ""
    seconds: float = 0.0
    heavy: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The name under which the host knows it."""
        return f"{self.distribution}:{self.name}"

    def describe(self) -> str:
        """Return one sentence about it, for an error message."""
        plugin = f"plugin {self.name!r} of {self.distribution} {self.version}"
        if self.status == "disabled":
            return f"{plugin} is disabled"
        place = f" ({self.location})" if self.location else ""
        return f"{plugin} is {self.status}: {self.where}{place}: {self.message}; {self.advice()}"

    def advice(self) -> str:
        """Return how to fix it, or how to continue without."""
        fix = self.fix or "fix that line"
        if not self.fix and self.distribution != LOCAL:
            fix += f" or update {self.distribution}"
        if self.distribution == LOCAL:
            return f"{fix}; or take it out of [plugins] local"
        return f'{fix}; or leave it alone: [plugins] disable = ["{self.distribution}"]'

    def goes_by(self, name: str) -> bool:
        """Return whether `name` is its distribution or its own name."""
        return _normal(name) in {_normal(self.distribution), _normal(self.name), _normal(self.id)}


class PluginHost:
    """The plugins of this process and the registry of what they bring.

    Args:
        disable: distributions or plugins to leave alone: they aren't even imported.  Those in
            the environment variable GENESYS_DISABLE_PLUGINS (separated by commas) are added.
        local: absolute paths of plugins that are not installed; see `local`.
    """

    def __init__(self, disable: Iterable[str] = (), local: Iterable[str] = ()) -> None:
        named = os.environ.get(DISABLE_VARIABLE, "").split(",")
        self._disabled = tuple(name.strip() for name in (*disable, *named) if name.strip())
        self.registry = Registry()
        self._records: dict[str, PluginRecord] = {}
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hookspecs)
        self._enlist(PluginRecord(BUILTIN, __version__, "builtin", builtin.__name__), builtin)
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for answers of ours only
            for record, load in [*_installed(), *_local(local)]:
                if load is None:
                    self._reject(record)
                else:
                    self._load(record, load)

    # --- what there is -------------------------------------------------------------------------

    @property
    def records(self) -> tuple[PluginRecord, ...]:
        """Every plugin, in the order in which they are called."""
        return tuple(self._records.values())

    def broken(self) -> tuple[PluginRecord, ...]:
        """The plugins that do not work."""
        return tuple(r for r in self.records if r.status in ("broken", "silenced"))

    def require(self, names: Iterable[str]) -> None:
        """Check that plugins work which an experiment cannot do without.

        Raises:
            PluginError: one is not installed, disabled or broken; the message says which.
        """
        for name in names:
            found = [record for record in self.records if record.goes_by(name)]
            if not found:
                known = [record.distribution for record in self.records]
                raise PluginError(
                    f"the plugin {name!r} is required but not installed", hint=suggest(name, known)
                )
            for record in found:
                if record.status != "active":
                    raise PluginError(f"required {record.describe()}")

    # --- calling hooks -------------------------------------------------------------------------

    def decide(self, hook: str, **payload: Any) -> Any:
        """Call a decision hook: the first answer that is not None, else None; see `decided`."""
        return self.decided(hook, **payload)[1]

    def decided(self, hook: str, **payload: Any) -> tuple[PluginRecord | None, Any]:
        """Return who gave the first answer that is not None, and the answer.

        Raises:
            PluginError: a plugin raised; a decision cannot be guessed.
        """
        return next(self._answers(hook, payload), (None, None))

    def answers(self, hook: str, **payload: Any) -> list[tuple[PluginRecord, Any]]:
        """Return every answer that is not None, and who gave it.

        Raises:
            PluginError: a plugin raised.
        """
        return list(self._answers(hook, payload))

    def _answers(self, hook: str, payload: Mapping[str, Any]) -> Iterator[tuple[PluginRecord, Any]]:
        frozen = {name: freeze(value) for name, value in payload.items()}
        for record, call in self._implementations(hook):
            answer, error = _attempt(call, **frozen)
            if error is not None:
                raise PluginError(_broken(record, hook, error).describe()) from error
            if answer is not None:
                yield record, answer

    def implements(self, hook: str) -> bool:
        """Tell whether any active plugin has this hook."""
        return bool(self._implementations(hook))

    def wrong_answer(self, record: PluginRecord, hook: str, message: str, hint: str) -> PluginError:
        """Return the error that a plugin's answer does not fit its hook."""
        plugin = self._manager.get_plugin(record.id)
        fault = HookFault(message, place_of(getattr(plugin, hook, None)), hint)
        return PluginError(_broken(record, hook, fault).describe())

    def emit(self, event: Mapping[str, Any]) -> tuple[PluginRecord, ...]:
        """Show an event to every observer; return the observers that it broke.

        An observer that raises is switched off for the rest of the process and returned here
        once, so that the caller can tell the user.
        """
        frozen = freeze(event)
        failed = []
        for record, call in self._implementations("genesys_on_event"):
            _, error = _attempt(call, event=frozen)
            if error is not None:
                noted = replace(_broken(record, "genesys_on_event", error), status="silenced")
                self._records[record.id] = noted
                failed.append(noted)
        return tuple(failed)

    def add_commands(self, cli: click.Group) -> None:
        """Add the commands of all plugins to `cli`; a collision breaks the plugin."""
        import click

        for record, call in self._implementations("genesys_commands"):
            own = click.Group()
            _, error = _attempt(call, cli=own)
            for name in sorted(set(own.commands) & set(cli.list_commands(click.Context(cli)))):
                error = error or PluginError(f"the command {name!r} exists already")
            if error is not None:
                self._reject(_broken(record, "genesys_commands", error))
                continue
            for command in own.commands.values():
                cli.add_command(command)

    def _implementations(self, hook: str) -> list[tuple[PluginRecord, Any]]:
        """Return (plugin, call) for every active plugin that implements `hook`, in order."""
        found = []
        for record in self.records:
            plugin = self._manager.get_plugin(record.id)
            if record.status == "active" and plugin is not None:
                call = self._only(hook, plugin)
                if call.get_hookimpls():
                    found.append((record, call))
        return found

    # --- loading -------------------------------------------------------------------------------

    def _load(self, record: PluginRecord, load: Callable[[], Any]) -> None:
        """Import one plugin, unless it is disabled; whatever it does, the host continues."""
        if any(record.goes_by(name) for name in self._disabled):
            self._reject(replace(record, status="disabled"))
            return
        before, started = set(sys.modules), time.perf_counter()
        plugin, error = _attempt(load)
        heavy = tuple(name for name in HEAVY if name in sys.modules and name not in before)
        record = replace(record, seconds=time.perf_counter() - started, heavy=heavy)
        if error is not None:
            self._reject(_broken(record, "import", error))
        else:
            self._enlist(record, plugin)

    def _enlist(self, record: PluginRecord, plugin: Any) -> None:
        """Register one plugin with its components: all of them, or none."""
        hook, found = "hooks", list[Description]()
        _, error = _attempt(self._check_hooks, record, plugin)
        for kind, name in KINDS.items():
            if error is None:
                hook = name
                _, error = _attempt(
                    self._only(hook, plugin), register=_Recorder(kind, record, found)
                )
        if error is None:
            _, error = _attempt(self.registry.register, *found)
        if error is None:
            self._records[record.id] = record
            return
        if self._manager.get_plugin(record.id) is plugin:
            self._manager.unregister(plugin)
        self._reject(_broken(record, hook, error))

    def _check_hooks(self, record: PluginRecord, plugin: Any) -> None:
        if self._manager.is_registered(plugin):
            raise PluginError("another entry point names the same object")
        vet(plugin)
        self._manager.register(plugin, name=record.id)
        self._manager.check_pending()  # a hook that does not exist, most often misspelt

    def _reject(self, record: PluginRecord) -> None:
        self._records[record.id] = record
        self.registry.note_absent(record.describe())

    def _only(self, hook: str, plugin: Any) -> pluggy.HookCaller:
        """Return a caller that reaches one plugin: pluggy ends a call at the first exception."""
        others = [other for other in self._manager.get_plugins() if other is not plugin]
        return self._manager.subset_hook_caller(hook, remove_plugins=others)


def freeze(value: Any) -> Any:
    """Return JSON data as read-only views and tuples, all the way down."""
    if isinstance(value, Mapping):
        return MappingProxyType({key: freeze(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    return value


Found = tuple[PluginRecord, Callable[[], Any] | None]
"""A plugin and what imports it; None where that is hopeless."""


def _installed() -> list[Found]:
    """Return the entry points of the group, sorted by distribution and name.

    A distribution whose metadata cannot be read is a broken record without entry point:
    `metadata.entry_points` would fail for all of them.
    """
    found: dict[str, list[Found]] = {}
    for dist in metadata.distributions():
        points, error = _attempt(lambda dist=dist: dist.entry_points.select(group=GROUP))
        if error is not None:
            name, version = _identity(dist)
            record = _broken(PluginRecord(name, version, "?", "?"), "metadata", error)
            found.setdefault(_normal(name), [(record, None)])
        elif points:
            name, version = _identity(dist)
            origin = str(dist.locate_file(""))
            _, unfit = _attempt(check_engine_version, dist)
            records: list[Found] = []
            for point in points:
                record = PluginRecord(name, version, point.name, point.value, origin=origin)
                if unfit is None:
                    records.append((record, point.load))
                else:
                    records.append((_broken(record, "requirements", unfit), None))
            found.setdefault(_normal(name), records)  # the first on the path hides others
    everything = [pair for pairs in found.values() for pair in pairs]
    return sorted(everything, key=lambda pair: (_normal(pair[0].distribution), pair[0].name))


def _local(paths: Iterable[str]) -> list[Found]:
    """Return the plugins at `paths`, in that order."""
    found: list[Found] = []
    for path in paths:
        plugins, error = _attempt(find_local, Path(path))
        if error is not None:
            record = PluginRecord(LOCAL, "?", Path(path).stem, path, origin=path)
            found.append((_broken(record, "files", error), None))
        for plugin in plugins or ():
            about = (plugin.distribution, plugin.version, plugin.name, plugin.target)
            found.append((PluginRecord(*about, origin=path), plugin.load))
    return found


def _identity(dist: metadata.Distribution) -> tuple[str, str]:
    """Return name and version; a half-removed distribution may have neither."""
    name, _ = _attempt(lambda: dist.metadata["Name"])
    version, _ = _attempt(lambda: dist.metadata["Version"])
    return str(name or f"unknown in {dist.locate_file('')}"), str(version or "?")


def _attempt(
    call: Callable[..., Any], *args: Any, **kwargs: Any
) -> tuple[Any, BaseException | None]:
    """Call a plugin's function: return (answer, None) or (None, exception)."""
    try:
        return call(*args, **kwargs), None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit in a plugin must not end the engine
        return None, error


@dataclass(frozen=True)
class _Recorder:
    """The `register` function that a plugin gets."""

    kind: str
    record: PluginRecord
    found: list[Description]

    def __call__(
        self,
        name: str,
        target: str,
        *,
        summary: str,
        options: type[BaseModel] | str | None = None,
    ) -> None:
        """Describe one component."""
        if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name):
            raise PluginError(f"{name!r} is not a component name (lower case, digits, _ . -)")
        if not re.fullmatch(r"[\w.]+:[\w.]+", target):
            raise PluginError(f"target {target!r} is not of the form 'package.module:Class'")
        who = self.record
        self.found.append(
            Description(self.kind, name, target, summary, who.distribution, who.version, options)
        )


def _broken(record: PluginRecord, where: str, error: BaseException) -> PluginRecord:
    text = error.message if isinstance(error, PluginError) else error
    lines = f"{type(error).__name__}: {text}".rstrip(": ").removeprefix("HookFault: ").splitlines()
    message = "; ".join(line.strip() for line in lines if line.strip())
    fix = (error.hint if isinstance(error, PluginError) else None) or ""
    if isinstance(error, ModuleNotFoundError):
        fix = f"install what holds the module {error.name!r}"
    return replace(
        record,
        status="broken",
        where=where,
        location=_location(error),
        message=message.removeprefix("PluginError: "),
        fix=fix,
    )


def _location(error: BaseException) -> str:
    """Return file:line of the innermost frame that is the plugin's, not the host's."""
    if isinstance(error, HookFault):
        return error.location
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    ours = (str(Path(pluggy.__file__).parent), str(Path(__file__).parent), "<frozen")
    importing = str(Path(metadata.__file__).parent)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((*ours, importing))
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
