"""The compile profile: which programs a job may start that compiles its training, and how it does.

`torch.compile` writes C++ (on a GPU: a stub in C and PTX) and starts the machine's compiler on it.
A job with `Limits.compiles` may execute the files listed here and nothing else; what they start is
held by the same Landlock rules and the same filter, which the kernel hands down.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from genesys_engine.plugins.sandbox.environment import PROGRAMS
from genesys_engine.plugins.sandbox.landlock import EXECUTE, READ, READ_FILE, Rule
from genesys_engine.plugins.sandbox.starting import retried

_COMPILERS = ("g++", "gcc")  # C++ for processors, C for what starts a kernel of a GPU
_PASSES = ("cc1plus", "cc1", "collect2", "as", "ld")
_HEADERS = ("/usr/include", "/usr/local/include")
# Every dynamic program is started through it; the names are part of the processors' ABIs.
_LOADERS = ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1")
_ASK_S = 10.0


@cache
def programs() -> tuple[str, ...]:
    """Return the files of the tool chain, () where there is no C++ compiler.

    The compiler says itself which passes it starts.  What stands in its place (a script, say)
    is named as it is found, and fails when it starts something else.
    """
    found = [path for name in _COMPILERS if (path := shutil.which(name, path=PROGRAMS))]
    if not found or not found[0].endswith("g++"):
        return ()
    passes = [path for compiler in found for name in _PASSES if (path := _pass(compiler, name))]
    return tuple(dict.fromkeys(os.path.realpath(path) for path in (*found, *passes)))


def _pass(compiler: str, name: str) -> str | None:
    """Return where a compiler has one of its passes."""
    command = [compiler, f"-print-prog-name={name}"]
    try:
        answer = retried(
            lambda: subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_ASK_S
            )
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return shutil.which(answer.stdout.strip() or name, path=PROGRAMS)


def rules() -> Iterator[Rule]:
    """Yield what a job that compiles may touch next to what every job may."""
    tools = programs()
    if not tools:
        return
    # PyTorch tries in a fresh interpreter whether the processor runs what the compiler makes.
    for path in (*tools, *_LOADERS, *_gpu_assemblers(), os.path.realpath(sys.executable)):
        yield path, READ_FILE | EXECUTE
    for path in dict.fromkeys((*_HEADERS, *(str(Path(tool).parent) for tool in tools))):
        if path not in PROGRAMS.split(":"):
            yield path, READ


def _gpu_assemblers() -> list[str]:
    """Return the assemblers that triton, where it is installed, brings along."""
    triton = find_spec("triton")
    folders = (triton.submodule_search_locations or ()) if triton else ()
    return [
        str(path)
        for folder in folders
        for path in sorted(Path(folder, "backends/nvidia/bin").glob("ptxas*"))
    ]


def prepare(scratch: str) -> None:
    """Have PyTorch, imported or not, compile in this process and keep all files in `scratch`.

    No pool of workers, which would want sockets and outlive a step; no header compiled
    beforehand, for which it starts `openssl`; and vector instructions that the processor has are
    taken as known to a compiler that can read PyTorch's headers, which saves half of the trials.
    """
    os.environ |= {
        "TORCHINDUCTOR_CACHE_DIR": f"{scratch}/.inductor",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS": "0",
        "TORCHINDUCTOR_VEC_ISA_OK": "1",
        "TRITON_CACHE_DIR": f"{scratch}/.triton",
        **_libcuda(),
    }
    # The template's is a path through the current folder, which the compiler has another of.
    tempfile.tempdir = scratch
    if "torch._inductor.config" in sys.modules:  # it has read the environment already
        config: Any = sys.modules["torch._inductor.config"]
        config.compile_threads = 1
        config.cpp_cache_precompile_headers = False
        config.cpp.vec_isa_ok = True


def _libcuda() -> dict[str, str]:
    """Return where CUDA's driver library is; triton would start `ldconfig` to learn it."""
    folders = [*os.environ.get("LD_LIBRARY_PATH", "").split(":"), *_LIBRARIES]
    found = next((f for f in folders if f and Path(f, "libcuda.so.1").exists()), None)
    return {"TRITON_LIBCUDA_PATH": found} if found else {}


_LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib",
    "/usr/local/cuda/compat", "/usr/lib/wsl/lib",
)  # fmt: skip
