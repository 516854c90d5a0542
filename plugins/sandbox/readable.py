"""Which files a job may touch, as Landlock rules: the interpreter, its packages, its scratch.

Nothing of the home folder is among them, nor the run's store, nor /proc of another process.  An
import folder that holds other things too (a checkout with its runs, a folder of scripts) is
opened for what can be imported from it alone.
"""

from __future__ import annotations

import os
import pwd
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from genesys_engine.plugins.sandbox import toolchain
from genesys_engine.plugins.sandbox.landlock import DEVICE, NAMES, READ, SCRATCH, WRITE_FILE, Rule
from genesys_engine.plugins.sandbox.protocol import Job

_SYSTEM = (
    "/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib",
    "/usr/share/locale", "/usr/share/zoneinfo",
    "/etc/ld.so.cache", "/etc/localtime", "/etc/nsswitch.conf",
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version",
    "/proc/sys/vm", "/proc/sys/kernel/osrelease",
    "/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/fs/cgroup",
    "/dev/urandom", "/dev/random", "/dev/zero",
)  # fmt: skip
# What CUDA and ROCm need next to their device files.
_ACCELERATOR = (
    "/proc/devices", "/proc/modules", "/proc/driver/nvidia", "/sys/bus/pci", "/sys/devices",
    "/sys/module", "/sys/class", "/usr/local/cuda", "/usr/share/nvidia", "/opt/rocm",
)  # fmt: skip
_DEVICES = ("nvidia*", "nvidia-caps/*", "kfd", "dri/*")
_IMPORTABLE = (".py", ".so", ".pth", ".egg-info")


def installation() -> tuple[Rule, ...]:
    """Return the rules that all jobs of a template share; call it with its `sys.path` complete."""
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    trees = [path for path in (*_SYSTEM, *_interpreter(), *libraries) if path.startswith("/")]
    rules = [(path, READ) for path in dict.fromkeys(trees)]
    inside = [Path(path).resolve() for path in trees]
    home = _home()
    for folder in dict.fromkeys(Path(path).resolve() for path in (*sys.path, *_editable())):
        if not any(folder.is_relative_to(tree) for tree in inside) and not (
            home.is_relative_to(folder)
        ):
            rules += _importable(folder)
    return (*rules, ("/dev/null", READ | WRITE_FILE))


def of_job(job: Job) -> Iterator[Rule]:
    """Yield the rules of one job: its scratch, what it may read, the accelerator and the tool
    chain if it asks."""
    yield job.scratch, SCRATCH
    for path in job.limits.readable:
        yield path, READ
    if job.limits.accelerator:
        for path in _ACCELERATOR:
            yield path, READ
        for path in accelerator_devices():
            yield path, DEVICE
    if job.limits.compiles:
        yield from toolchain.rules()


def accelerator_devices() -> list[str]:
    """Return the device files of accelerators; [] on a machine without one."""
    return [str(path) for pattern in _DEVICES for path in sorted(Path("/dev").glob(pattern))]


def _interpreter() -> Iterator[str]:
    """Yield the installation and the virtual environment, wherever they are."""
    for path in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix):
        if path not in ("/", "/usr", "/usr/local"):  # there the system's folders do
            yield str(Path(path).resolve())
    yield from (path for name, path in sysconfig.get_paths().items() if name.endswith("lib"))


def _home() -> Path:
    """Return the user's home folder; the environment of the template does not tell it."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir).resolve()
    except KeyError:  # a user without a name: nothing to protect but the root folder
        return Path("/")


def _editable() -> Iterator[str]:
    """Yield the folders around packages that setuptools installed as editable by a finder."""
    for finder in sys.meta_path:
        module = sys.modules.get(getattr(finder, "__module__", ""))
        yield from (str(Path(path).parent) for path in getattr(module, "MAPPING", {}).values())


def _importable(folder: Path) -> Iterator[Rule]:
    """Yield what can be imported from a folder, and the names in it (importing lists them)."""
    if not folder.is_dir() or next(folder.glob("*.dist-info"), None) is not None:
        yield str(folder), READ  # a zip archive, or a folder that packages are installed in
        return
    yield str(folder), NAMES
    for entry in folder.iterdir():
        if entry.name.endswith(_IMPORTABLE) or (entry / "__init__.py").exists():
            yield str(entry), READ
