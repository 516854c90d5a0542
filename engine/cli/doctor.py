"""What a run needs of the machine and of the installation, looked at one by one."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import genesys_engine

if TYPE_CHECKING:
    from genesys_engine.engine.config import Experiment
    from genesys_engine.plugins.registry import Registry

GIB = 1 << 30
DISTRIBUTION = "genesys-engine"


@dataclass(frozen=True)
class Row:
    """One finding: `fail` stops every run, `warn` takes something away, `ok` is well."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    fix: str = ""


def examine() -> Iterator[Row]:
    """Yield all findings as they are made; takes a few seconds, since it imports torch."""
    yield from _python()
    yield from _packages()
    yield from _machine()
    yield from _torch()
    yield from _language_models()
    yield from _sandbox()
    yield from _plugins()


def models(
    experiment: Experiment, registry: Registry, asked: Callable[[str], None]
) -> Iterator[Row]:
    """Yield what the language model of every role of an experiment answers to one small call.

    `asked` gets the role before its call.
    """
    from genesys_engine.engine.llm.trial import try_models

    for trial in try_models(experiment, registry, asked):
        found = f"{trial.place} {trial.fault or trial.found}"
        yield Row(f"LLM {trial.role}", "fail" if trial.fault else "ok", found, trial.hint)


def executor(name: str, registry: Registry, options: Mapping[str, object]) -> Iterator[Row]:
    """Return what an executor offers; for one that is this machine alone there is nothing to ask.

    Raises:
        PluginError: there is no such executor, or it does not take these options.
    """
    from genesys_engine.plugins.targets import checked_options, load_target

    description = registry.get("executor", name)
    survey = getattr(load_target(description.target), "survey", None)
    read = checked_options(description.target, description.options_model(), options)
    if survey is None:
        return iter([Row(f"executor {name}", "ok", "runs its jobs on this machine: see above")])
    return (
        Row(offer.name, "ok" if offer.usable else "fail", offer.found, offer.fix)
        for offer in survey(read)
    )


def _python() -> Iterator[Row]:
    version = platform.python_version()
    fine = (3, 11) <= sys.version_info < (3, 14)
    yield Row(
        "python", "ok" if fine else "fail", version, "" if fine else "use Python 3.11 to 3.13"
    )


def _packages() -> Iterator[Row]:
    """Compare each requirement with what is installed."""
    from packaging.requirements import Requirement

    for text in _requirements():
        need = Requirement(text)
        if need.marker and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            found = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            yield Row(need.name, "fail", "not installed", f"pip install '{text}'")
            continue
        if need.specifier.contains(found, prereleases=True):
            yield Row(need.name, "ok", found)
        else:
            yield Row(need.name, "fail", found, f"pip install '{text}'")


def _requirements() -> list[str]:
    """Return what the distribution requires, or what its source tree says it will."""
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        import tomli

        project = Path(genesys_engine.__file__).parent.parent / "pyproject.toml"
        found: list[str] = tomli.loads(project.read_text("utf-8"))["project"]["dependencies"]
        return found


def _machine() -> Iterator[Row]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Row("cores", "ok", str(cores))
    memory = _memory_bytes()
    if memory is not None:
        yield _at_least("memory", memory, 2 * GIB, 4 * GIB, "use a machine with 4 GiB or more")
    for name, folder in (("disk here", Path.cwd()), ("disk for scratch", tempfile.gettempdir())):
        free = shutil.disk_usage(folder).free
        yield _at_least(name, free, GIB // 4, 2 * GIB, f"free space in {folder}")


def _at_least(name: str, size: int, must: int, should: int, fix: str) -> Row:
    found = f"{size / GIB:.1f} GiB"
    if size >= should:
        return Row(name, "ok", found)
    return Row(name, "warn" if size >= must else "fail", found, fix)


def _memory_bytes() -> int | None:
    """Return the memory of the machine, or of the control group if that is less."""
    try:
        sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (ValueError, OSError, AttributeError):  # not on this system
        return None
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            sizes.append(int(Path("/sys/fs/cgroup", limit).read_text()))
        except (OSError, ValueError):
            continue  # no such control group, or "max"
    return min(sizes)


def _torch() -> Iterator[Row]:
    try:
        import torch
    except Exception as error:  # a broken build raises more than ImportError
        yield Row("torch device", "fail", f"{type(error).__name__}: {error}", "install torch again")
        return
    if torch.cuda.is_available():
        yield Row("torch device", "ok", f"cuda: {torch.cuda.get_device_name(0)}")
    else:
        found = f"cpu, {torch.get_num_threads()} threads; no CUDA device"
        fix = '[trainer] device = "cuda" needs a PyTorch with CUDA, and its driver'
        yield Row("torch device", "ok", found, fix)


def _language_models() -> Iterator[Row]:
    """Tell what may answer here next to a server; litellm is among the packages."""
    try:
        found = metadata.version("xllamacpp")
        yield Row("local LLM", "ok", f"xllamacpp {found}")
    except metadata.PackageNotFoundError:
        fix = "pip install 'genesys-engine[local-llm]', to run a GGUF file in this process"
        yield Row("local LLM", "ok", "xllamacpp is not installed", fix)
    keys = sorted(n for n, key in os.environ.items() if n.endswith("_API_KEY") and key.strip())
    yield Row("LLM keys", "ok", ", ".join(keys) or "none in the environment")


def _sandbox() -> Iterator[Row]:
    from genesys_engine.plugins.sandbox import isolation_here, sandbox_status, toolchain

    isolation = isolation_here()
    missing = ", ".join(isolation.missing("strict"))
    yield Row(
        "isolation level",
        "warn" if missing else "ok",
        f"{isolation.level}; strict would need {missing}" if missing else isolation.level,
        "see docs/sandbox.md; run trusted code only" if missing else "",
    )
    yield _compile_profile(toolchain.programs())
    for measure in sandbox_status(isolation):
        name = f"isolation: {measure.name}"
        if measure.active:
            yield Row(name, "ok", measure.detail)
        elif measure.name == "process":  # without it no candidate may run at all
            yield Row(name, "fail", "not offered by this system", "use Linux or macOS")
        else:
            fix = "run trusted code only, or use Linux"
            yield Row(name, "warn", f"not active: {measure.detail}", fix)


def _compile_profile(programs: Sequence[str]) -> Row:
    """Tell what the profile would open to a training that asks to be compiled."""
    if not programs:
        fix = "install g++ to compile trainings on this machine"
        return Row("compile profile", "ok", "no g++: trainings are not compiled", fix)
    detail = f"open to trainings with [trainer] compile only: {len(programs)} programs of g++"
    return Row("compile profile", "ok", detail)


def _plugins() -> Iterator[Row]:
    from genesys_engine.plugins.host import PluginHost

    host = PluginHost()
    broken = host.broken()
    for record in broken:
        yield Row("plugin", "warn", record.describe(), f"fix or remove {record.distribution}")
    if not broken:
        yield Row("plugins", "ok", f"{len(host.records)}, none broken")
