"""Names of tasks that an experiment may list, and their meanings.

It imports nothing heavy, because it is used to check experiments.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from genesys_engine.plugins.evaluators.minimal_pairs import GROUP as PAIRS
from genesys_engine.plugins.evaluators.minimal_pairs import PHENOMENA

if TYPE_CHECKING:
    from genesys_engine.plugins.corpus import Corpus

OFFLINE, BIGBENCH, PAPER = "offline", "bigbench", "paper"
ENGLISH = "english"  # the corpus with which `offline` includes the minimal pairs
PLACE = "[[evaluators]] tasks"  # in an experiment
FROM_CORPUS = ("continuation", "corruption")

BIGBENCH_TASKS = (
    "anachronisms", "discourse_marker_prediction", "disambiguation_qa", "entailed_polarity",
    "general_knowledge", "hyperbaton", "implicatures", "known_unknowns", "metaphor_boolean",
    "phrase_relatedness", "physical_intuition", "social_iqa", "social_support",
    "sports_understanding", "strategyqa", "winowhy",
)  # fmt: skip
"""Multiple choice, one file each, short enough for small models."""

PAPER_TASKS = (
    "blimp", "cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "wnli", "lambada_openai",
    "hellaswag", "piqa", "arc_easy", "arc_challenge", "winogrande", "openbookqa", "mathqa", "sciq",
    "swag", "wsc273", "qa4mre_2011", "qa4mre_2012", "qa4mre_2013", "triviaqa", "inverse_scaling_mc",
    "squad_completion",
)  # fmt: skip
"""The tasks of the paper (arXiv 2506.20249) by lm-eval's names, glue's parts one by one.

Three of its 29 are left out: tinyGSM8k, tinyMMLU and tinyTruthfulQA score with a package that no
index has, and that fetches a table while it scores, where a worker reaches no network.
"""

LISTS = {
    OFFLINE: FROM_CORPUS,
    PAIRS: tuple(PHENOMENA),
    BIGBENCH: BIGBENCH_TASKS,
    PAPER: PAPER_TASKS,
}


@dataclass(frozen=True)
class Task:
    """One task: its name among the scores, and the group whose mean it enters ("": none)."""

    name: str
    group: str = ""

    @property
    def label(self) -> str:
        """Its name in lm-eval, without characters of a path."""
        return self.key.replace("/", "_")

    @property
    def key(self) -> str:
        """The name of its scores: `group/name` within a group."""
        return f"{self.group}/{self.name}" if self.group else self.name


@dataclass(frozen=True)
class Tasks:
    """The tasks that a list of names stands for.

    `local` tasks have their items here or in the corpus; `bigbench` ones in its package;
    `library` ones in lm-eval and on the hub; `folders` hold YAML of the user's own.
    """

    local: tuple[Task, ...]
    bigbench: tuple[Task, ...]
    library: tuple[str, ...]
    folders: tuple[str, ...]

    @property
    def need_data(self) -> bool:
        """Whether anything has to be fetched or prepared before a worker can run them."""
        return bool(self.bigbench or self.library or self.folders)


def expand(names: Sequence[str], corpus: Corpus | None = None) -> Tasks:
    """Return the tasks that `names` stand for, each once, in order.

    `offline` includes the minimal pairs where the corpus is the English one.
    """
    local: dict[Task, None] = {}
    bigbench: dict[Task, None] = {}
    library: dict[str, None] = {}
    folders: dict[str, None] = {}
    for name in names:
        group, _, part = name.partition("/")
        if name == OFFLINE:
            local |= dict.fromkeys(map(Task, FROM_CORPUS))
            if corpus is not None and is_english(corpus):
                local |= dict.fromkeys(Task(task, PAIRS) for task in PHENOMENA)
        elif name in FROM_CORPUS:
            local[Task(name)] = None
        elif name == PAIRS or (group == PAIRS and part in PHENOMENA):
            chosen = tuple(PHENOMENA) if name == PAIRS else (part,)
            local |= dict.fromkeys(Task(task, PAIRS) for task in chosen)
        elif name == BIGBENCH or (group == BIGBENCH and part.isidentifier()):
            chosen = BIGBENCH_TASKS if name == BIGBENCH else (part,)
            bigbench |= dict.fromkeys(Task(task, BIGBENCH) for task in chosen)
        elif name == PAPER:
            library |= dict.fromkeys(PAPER_TASKS)
        elif is_folder(name):
            folders[name] = None
        else:
            library[name] = None
    return Tasks(tuple(local), tuple(bigbench), tuple(library), tuple(folders))


def unknown(names: Iterable[str]) -> str | None:
    """Return the fault of the first unknown name, with similar names; or None.

    lm-eval's own names are searched only if a name is not one of ours: building its index takes 10
    to 20 seconds, searching its files about one.
    """
    from genesys_engine.plugins.registry import suggest

    own = _own_names()
    for name in names:
        if name in own or (name.startswith(f"{BIGBENCH}/") and name.count("/") == 1):
            continue
        if is_folder(name):
            if not task_files(folder_path(name)):
                return f"no folder {name!r} with lm-eval tasks (.yaml)"
            continue
        if name not in library_names():
            return f"unknown task {name!r}; {suggest(name, [*own, *sorted(library_names())])}"
    return None


def score_names(names: Sequence[str], corpus: str) -> Iterator[str]:
    """Yield the scores that a list of tasks will give on the corpus of that source.

    One that ends in `*` stands for all that begin so: what tasks with a tag have in common is not
    looked up, nor what a task leaves to its code.
    """
    english = [PAIRS] if OFFLINE in names and corpus == ENGLISH else []
    tasks = expand([*names, *english])
    for task in (*tasks.local, *tasks.bigbench):
        yield f"{task.key}:acc"
        if task.group:
            yield f"{task.group}:acc"
    for name in tasks.library:
        yield from _library_scores(name)
    for folder in tasks.folders:
        yield from _own_scores(task_files(folder_path(folder)))


def _own_scores(files: Sequence[Path]) -> Iterator[str]:
    """Yield the scores of the tasks of a folder, and of the groups that its files make of them."""
    groups = {
        member: name[1]
        for path in files
        if (name := re.search(r"^group:[ \t]*['\"]?([\w.+-]+)", _text(path), re.M))
        for member in group_members(path) or ()
    }
    for path in files:
        own = re.search(r"^task:[ \t]*['\"]?([\w.+-]+)['\"]?[ \t]*$", _text(path), re.M)
        if own is not None:
            metrics = task_metrics(path)
            group = groups.get(own[1])
            yield from _named(f"{group}/{own[1]}" if group else own[1], metrics)
            yield from _named(group, metrics) if group else ()
        elif group_members(path) is None:
            yield "*"


def _library_scores(name: str) -> Iterator[str]:
    """Yield the scores of a task of lm-eval's own, or of a group of such."""
    path = library_files().get(name)
    members = None if path is None else group_members(path)
    if members is None:
        yield from _named(name, None if path is None else task_metrics(path))
        return
    for member in members:
        file = library_files().get(member)
        metrics = None if file is None else task_metrics(file)
        yield from _named(f"{name}/{member}", metrics)
        yield from _named(name, metrics)


def _named(task: str, metrics: Sequence[str] | None) -> list[str]:
    """Return the scores of a task; of one whose metrics are not known, and of its parts, all."""
    if metrics is None:
        return [f"{task}:*", f"{task}/*"]
    return [f"{task}:{metric}" for metric in metrics]


def group_members(path: Path) -> list[str] | None:
    """Return the tasks of a group whose file names them and changes nothing of theirs."""
    text = _text(path)
    keys = set(re.findall(r"^(\w+):", text, re.M))
    if not {"group", "task"} <= keys <= {*_GROUP_KEYS, "group", "task"}:
        return None
    item = r"[ \t]*-[ \t]*['\"]?[\w.+-]+['\"]?[ \t]*\n"
    listed = re.search(rf"^task:[ \t]*\n((?:{item})+)(?=\w|\Z)", text, re.M)
    return None if listed is None else re.findall(r"-[ \t]*['\"]?([\w.+-]+)", listed[1])


_GROUP_KEYS = ("group_alias", "aggregate_metric_list", "metadata")


def task_metrics(path: Path) -> list[str] | None:
    """Return the metrics that a task's file, or an included one, lists."""
    seen: set[Path] = set()
    while path not in seen and path.is_file():
        seen.add(path)
        text = _text(path)
        if re.search(r"^(?:group|class|task_list):|^include:[ \t]*(?:\[|$)", text, re.M):
            return None
        if re.search(r"^metric_list:", text, re.M):
            bare = re.sub(r"#.*", "", text)  # a metric may be commented out
            found = re.findall(r"\bmetric['\"]?:[ \t]*([^\s,}]+)", bare)
            plain = [metric.strip("'\"") for metric in found]
            return plain if all(re.fullmatch(r"\w[\w.+-]*", m) for m in plain) else None
        include = re.search(r"^include:[ \t]*['\"]?([^\s'\"]+)", text, re.M)
        if include is None:
            break
        path = path.parent / include[1]
    return None


def is_folder(name: str) -> bool:
    """Tell whether a name means a folder of the user's: it begins like a path."""
    return name.startswith(("/", "./", "../", "~"))


def folder_path(name: str) -> Path:
    """Return where a folder of the user's lies; a relative one begins in the working folder."""
    return Path(name).expanduser().resolve()


def files_of(folder: Path) -> list[Path]:
    """Return the files of a folder of tasks, less hidden ones and Python's compiled ones."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(
            part[0] == "." or part == "__pycache__" for part in path.relative_to(folder).parts
        )
    )


def task_files(folder: Path) -> list[Path]:
    """Return the files of a folder that may hold a task."""
    return [path for path in files_of(folder) if path.suffix == ".yaml"]


def is_english(corpus: Corpus) -> bool:
    """Tell whether a corpus is the English prose that the engine fetches."""
    return bool(corpus.manifest["settings"].get("use") == ENGLISH)


@lru_cache(maxsize=1)
def library_names() -> frozenset[str]:
    """Return the names of tasks, groups and tags in lm-eval's own files."""
    return frozenset(library_files()) | _tags()


@lru_cache(maxsize=1)
def library_files() -> dict[str, Path]:
    """Return name -> YAML file of lm-eval's own tasks and groups."""
    found: dict[str, Path] = {}
    for path, text in _texts():
        for name in re.findall(r"^(?:task|group):[ \t]*['\"]?([\w.+-]+)", text, re.MULTILINE):
            found.setdefault(name, path)
    return found


def _tags() -> frozenset[str]:
    """Return the tags: names that stand for all tasks that carry them."""
    tags: set[str] = set()
    for _, text in _texts():
        for block in re.findall(
            r"^tag:((?:[ \t]*[\w.+-]+[ \t]*$)|(?:\s*\n\s*-[^\n]*)+)", text, re.M
        ):
            tags.update(re.findall(r"[\w.+-]*\w[\w.+-]*", block))
    return frozenset(tags)


@lru_cache(maxsize=1)
def _texts() -> list[tuple[Path, str]]:
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        return []
    root = Path(spec.submodule_search_locations[0]) / "tasks"
    files = sorted(root.rglob("*yaml"))  # some that others include have no ending
    return [(path, _text(path)) for path in files]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig", errors="replace")


def _own_names() -> list[str]:
    pairs = [f"{PAIRS}/{name}" for name in PHENOMENA]
    bigbench = [f"{BIGBENCH}/{name}" for name in BIGBENCH_TASKS]
    return [*LISTS, *FROM_CORPUS, *pairs, *bigbench]
