"""The environment and the import path of the template process: built up, never copied.

Nothing of the engine's environment is handed on but the few names in `PASSED_ON`, which say
where the accelerator's libraries are; so no key can be read there, nor in /proc.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import genesys_engine

PASSED_ON = ("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")

# Libraries that the template has already imported read their folders once; a path through the
# current folder leads each forked job into its own scratch folder all the same.
HERE = "/proc/self/cwd" if Path("/proc/self/cwd").exists() else "."

PROGRAMS = "/usr/bin:/bin"

_FIXED = {
    "PATH": PROGRAMS,
    "LANG": "C.UTF-8",
    "USER": "worker",  # else libraries ask the system for a name, which a job may not
    "LOGNAME": "worker",
    # One thread: jobs share the cores, and a fork is sound only without other threads.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "TOKENIZERS_PARALLELISM": "false",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "PYTHONHASHSEED": "0",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # without it cuBLAS is not deterministic
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
}


def clean_environment() -> dict[str, str]:
    """Return the whole environment of the template process."""
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return _FIXED | folders(HERE) | passed_on


def folders(home: str) -> dict[str, str]:
    """Return the variables that make programs keep their files under `home`."""
    return {
        "HOME": home,
        "TMPDIR": home,
        "HF_HOME": f"{home}/.huggingface",
        "CUDA_CACHE_PATH": f"{home}/.cuda",
    }


def import_path() -> list[str]:
    """Return the folders that the template adds to its `sys.path`.

    First the one that this very package came from (an installation or a checkout), then the
    engine's own, so that "module:function" means the same there as here.
    """
    root = Path(genesys_engine.__file__).parent.parent
    return list(dict.fromkeys([str(root), *map(os.path.abspath, sys.path)]))
