"""Data of zero-shot tasks that do not come from the corpus: fetched before anything is spent.

Workers reach no network and see no cache.  What tasks need is therefore prepared once, in one
folder of the cache per list of tasks, and workers get its path and may read it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from genesys_engine.engine.common.cache import cache_folder
from genesys_engine.engine.common.options import PluginOptions
from genesys_engine.engine.corpus.items import FEWEST_ITEMS
from genesys_engine.engine.jobs.worker_jobs import ComponentSpec
from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.plugins.corpus import file_digest
from genesys_engine.plugins.evaluators import bigbench
from genesys_engine.plugins.evaluators.task_names import (
    PLACE,
    Tasks,
    expand,
    files_of,
    folder_path,
)
from genesys_engine.plugins.sandbox.starting import retried

if TYPE_CHECKING:
    from genesys_engine.plugins.corpus import Corpus

USE = "lm_eval"
DATA = "data"  # the option of the evaluator that says where they lie
ARCHIVE = "bigbench-1.0.0.tar.gz"
ARCHIVE_SHA256 = "1bb398a5512c6d798cdebe0dfa0ac03f67f6033fa6b39c6ef71df978c7cbc5c2"
PIP_SECONDS = 1800
FORMAT = 3  # of a prepared folder: what an older version prepared is not used

Say = Callable[[str], None]


class Evaluator(Protocol):
    """An entry of `[[evaluators]]`: the component in use, and its options."""

    @property
    def use(self) -> str:
        """Its registered name."""

    @property
    def options(self) -> PluginOptions:
        """Its options, checked."""


def prepare_tasks(evaluators: Sequence[Evaluator], say: Say) -> dict[str, str]:
    """Return list of tasks (as JSON) -> folder with its data, for evaluators that need some.

    Raises:
        EnvironmentProblem: data cannot be reached from here.
        InputError: a task is not what it should be.
    """
    folders = {}
    for entry in evaluators:
        if entry.use == USE and entry.options.get(DATA) is None:
            names = list(entry.options["tasks"])
            tasks = expand(names)
            if tasks.need_data:
                folders[json.dumps(names)] = str(_prepared(names, tasks, say))
    return folders


def check_folders(evaluators: Sequence[Evaluator]) -> None:
    """Look at the tasks in folders of the user's as `prepare_tasks` does, but for what is not on
    this machine.

    Raises:
        InputError: a task is not what it should be, or asks for more than its data have.
    """
    folders = [name for tasks in _tasks(evaluators) for name in tasks.folders]
    if folders:
        from genesys_engine.plugins.evaluators.library_tasks import check

        check(dict.fromkeys(folders))


def demand_items(evaluators: Sequence[Evaluator], corpus: Corpus) -> None:
    """Hold the items that were made from held-out text against the tasks that want them.

    Raises:
        InputError: there are too few of them.
    """
    counts = corpus.manifest["items"]
    for tasks in _tasks(evaluators, corpus):
        for task in tasks.local:
            if (found := counts.get(task.key)) is not None and found < FEWEST_ITEMS:
                raise InputError(
                    f"the {corpus.heldout_tokens:,} held-out tokens of {corpus.manifest['origin']}"
                    f" yield {found} items for the task {task.key!r};"
                    f" at least {FEWEST_ITEMS} are needed",
                    where=PLACE,
                    hint="give more text or a larger corpus.heldout, or remove the task",
                )


def _tasks(evaluators: Sequence[Evaluator], corpus: Corpus | None = None) -> Iterator[Tasks]:
    """Yield what each list of tasks of the evaluators stands for."""
    for entry in evaluators:
        if entry.use == USE:
            yield expand(entry.options["tasks"], corpus)


def with_data(evaluator: ComponentSpec, folders: Mapping[str, str]) -> ComponentSpec:
    """Return an evaluator with the folder of its tasks filled in."""
    options = evaluator.options
    key = json.dumps(list(options.get("tasks", ())))
    if evaluator.name != USE or options.get(DATA) is not None or key not in folders:
        return evaluator
    return replace(evaluator, options={**options, DATA: folders[key]})


def _prepared(names: list[str], tasks: Tasks, say: Say) -> Path:
    """Return the folder with the data of `tasks`, which is there whole or not at all."""
    facts = [FORMAT, names, version("lm-eval"), [_content(folder) for folder in tasks.folders]]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]
    folder = cache_folder() / "tasks" / key
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".preparing-", dir=folder.parent))
    try:
        if tasks.bigbench:
            archive = bigbench_archive(say)
            say("reading BIG-bench's tasks")
            wanted = [task.name for task in tasks.bigbench]
            bigbench.extract(archive, wanted, partial / bigbench.FOLDER)
        if tasks.library or tasks.folders:
            from genesys_engine.plugins.evaluators.library_tasks import prepare

            prepare(tasks, partial, say)
        partial.chmod(0o755)  # mkdtemp makes it private; workers may run as somebody else
        with contextlib.suppress(OSError):  # another process was faster: its folder is as good
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _content(folder: str) -> str:
    """Return a digest over the files of a folder of tasks."""
    digest = hashlib.sha256()
    root = folder_path(folder)
    for path in files_of(root):
        digest.update(f"{path.relative_to(root).as_posix()}\0{file_digest(path)}\n".encode())
    return digest.hexdigest()


def bigbench_archive(say: Say) -> Path:
    """Return the source archive of the package bigbench, fetched with pip where it is not there.

    Raises:
        EnvironmentProblem: it cannot be fetched, or is not the pinned one.
    """
    folder = cache_folder() / "packages"
    archive = folder / ARCHIVE
    if archive.is_file() and file_digest(archive) == ARCHIVE_SHA256:
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    say("fetching bigbench 1.0.0 (358 MB), once")
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as scratch:
        found = _download(Path(scratch), folder)
        found.replace(archive)
    return archive


def _download(scratch: Path, folder: Path) -> Path:
    """Have pip fetch the archive; pip itself refuses another digest than the pinned one."""
    wanted = scratch / "requirements.txt"
    wanted.write_text(f"bigbench==1.0.0 --hash=sha256:{ARCHIVE_SHA256}\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--no-binary", ":all:", "--require-hashes", "--dest", str(scratch)),
        *("--requirement", str(wanted)),
    ]
    try:
        done = retried(
            lambda: subprocess.run(
                command, capture_output=True, text=True, timeout=PIP_SECONDS, check=False
            )
        )
        reason = (
            "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no word"])[-1]
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    found = scratch / ARCHIVE
    if reason or not found.is_file() or file_digest(found) != ARCHIVE_SHA256:
        raise EnvironmentProblem(
            f"bigbench 1.0.0 cannot be fetched with pip: {reason or 'it is another file'}",
            hint=f"connect to a package index, or put {ARCHIVE} (SHA-256 {ARCHIVE_SHA256[:16]}...)"
            f" into {folder}",
        )
    return found
