"""Writes the folder of an exported model: all of it or nothing, and never over something else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.engine.common.records import plain
from genesys_engine.engine.common.steps import Steps
from genesys_engine.engine.export.card import model_card
from genesys_engine.engine.export.checkpoints import Weights, find_weights
from genesys_engine.engine.export.tasks import write_tasks
from genesys_engine.engine.jobs.design_report import Fit
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views.details import composed_source
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.scales import ModelConfig
from genesys_engine.plugins.corpus import Corpus
from genesys_engine.plugins.held_folders import hold

if TYPE_CHECKING:
    from torch import Tensor

HERE = Path(__file__).parent
CODE = ("configuration_genesys.py", "modeling_genesys.py")
EXPORTING = "exporting"
_MOST_COPIED = 8  # times the bytes of the checkpoint; far more than any block shares


@dataclass(frozen=True)
class Exported:
    """What was written where; `tasks` are the names that lm-eval finds in its `tasks` folder."""

    folder: Path
    design: int
    scale: str
    replicate: int
    parameters: int
    tasks: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return it as the command line gives it out."""
        values = {key: getattr(self, key) for key in ("design", "scale", "replicate", "parameters")}
        return {"folder": str(self.folder), **values, "tasks": list(self.tasks)}

    def lines(self) -> list[str]:
        """Return what a person is shown."""
        return [
            f"design {self.design}, trained at {self.scale} (seed {self.replicate}),"
            f" {self.parameters:,} parameters: {self.folder}; see {self.folder / 'README.md'}"
        ]


def export(
    store: Store,
    design: int,
    folder: Path,
    *,
    scale: str | None = None,
    replicate: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Exported:
    """Write a design's trained model to `folder`; `say` gets a line for each part of it.

    No code of the design is run: its module is written as text, its weights are copied.

    Raises:
        InputError: the folder is in use, or the design has no weights or spoilt ones, or its
            tokenizer is gone or another one.
    """
    refuse_used(folder)
    steps = Steps(say, 3)
    weights = find_weights(store, design, scale, replicate)
    steps.next(EXPORTING, f"design {design}, trained at {weights.scale}")
    fit = store.report(design).measurements.fits[weights.scale]
    corpus = corpus_for(store, fit)
    with new_folder(folder) as partial:
        block = composed_source(store, design)
        parameters = write_model(partial, weights.path, block, fit.model, corpus)
        steps.next(EXPORTING, "the tasks of lm-eval")
        tasks = write_tasks(partial / "tasks", corpus, store.meta("experiment")["evaluators"])
        exported = Exported(folder, design, weights.scale, weights.row.replicate, parameters, tasks)
        steps.next(EXPORTING, "the card and the scores")
        card = model_card(store, weights, fit, parameters, tasks)
        (partial / "README.md").write_text(card, encoding="utf-8")
        write_json(partial / "scores.json", _scores(weights))
    return exported


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a folder to write to, which becomes `folder` at the end, or is gone after an error.

    Each process writes to one of its own; the first to end gets the name.

    Raises:
        InputError: another process was faster.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial, lock = hold(f".{folder.name}.partial-", parent=folder.parent)
    try:
        yield partial
        partial.chmod(0o755)
        try:
            partial.rename(folder)
        except OSError:  # it is not empty any more
            refuse_used(folder)
            raise
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        os.close(lock)


def write_model(folder: Path, weights: Path, block: str, model: ModelConfig, corpus: Corpus) -> int:
    """Write what transformers loads to an existing folder; return the number of parameters.

    `block` is a composed module, `model` the language model around it.

    Raises:
        InputError: the weights are spoilt.
    """
    parameters = _write_weights(weights, folder / "model.safetensors", model.n_blocks)
    _write_code(folder, block, model, corpus.end_of_text)
    write_tokenizer(folder, corpus, model.context)
    return parameters


def refuse_used(folder: Path) -> None:
    """Raise `InputError` unless `folder` is new or empty."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists():
        raise InputError(
            "the folder is not empty" if folder.is_dir() else "a file of this name exists",
            where=str(folder),
            hint="files are never overwritten: use a new folder, or empty this one",
        )


def corpus_for(store: Store, fit: Fit) -> Corpus:
    """Return the corpus of the run for a model of this `fit`.

    Raises:
        InputError: it is gone or has changed, or the model reads other tokens.
    """
    corpus = run_corpus(store)
    if fit.vocab_size != corpus.vocab_size:
        raise InputError(
            f"the model reads {fit.vocab_size} tokens, the tokenizer has {corpus.vocab_size}",
            where=str(corpus.folder),
            hint="prepare the corpus of the run's experiment again",
        )
    return corpus


def run_corpus(store: Store) -> Corpus:
    """Return the corpus of the run, whose tokenizer belongs to every model of it."""
    known = store.meta("corpus")
    hint = "prepare it again: run `genesys-engine plan` on the run's experiment"
    try:
        corpus = Corpus.open(known["folder"])
    except InputError as error:
        raise InputError(
            f"the corpus of the run, with its tokenizer, is gone: {error.message}",
            where=error.where,
            hint=hint,
        ) from error
    if corpus.digest != known["digest"]:
        raise InputError(
            "the corpus has changed since the run", where=str(corpus.folder), hint=hint
        )
    return corpus


def _write_weights(source: Path, target: Path, n_blocks: int) -> int:
    """Copy a checkpoint into the form that transformers reads; return the parameters.

    A tensor that two names share is stored under both, since transformers knows no such tie.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file, save_file

    try:
        tensors = load_file(source)
        with safe_open(source, framework="pt") as file:
            shared = _shared(file.metadata() or {}, tensors, n_blocks)
    except SafetensorError as error:
        raise _spoilt(source, f"is not a safetensors file: {error}") from error
    stored = sum(tensor.nbytes for tensor in tensors.values())
    if sum(tensors[kept].nbytes for kept in shared.values()) > _MOST_COPIED * stored:
        raise _spoilt(source, f"names {len(shared)} tensors as copies of others, far too many")
    parameters = sum(int(tensor.numel()) for tensor in tensors.values())
    tensors |= {name: tensors[kept].clone() for name, kept in shared.items()}
    save_file(tensors, target, metadata={"format": "pt"})
    return parameters


def _shared(
    metadata: Mapping[str, str], tensors: Mapping[str, Tensor], n_blocks: int
) -> dict[str, str]:
    """Return which tensors of the blocks were left out, each with the one that stands for it.

    `save_model` of safetensors notes them among the metadata.  That text is the design's own, and
    only within its blocks can a design share anything.
    """
    blocks = tuple(f"blocks.{number}." for number in range(n_blocks))
    return {
        name: kept
        for name, kept in metadata.items()
        if name.startswith(blocks)
        and name not in tensors
        and kept.startswith(blocks)
        and kept in tensors
    }


def _spoilt(source: Path, what: str) -> InputError:
    return InputError(
        f"this checkpoint {what}",
        where=str(source),
        hint="it is damaged or was changed: export another seed or rung of the design, or train"
        " it again in a new run",
    )


def _write_code(folder: Path, block: str, model: ModelConfig, end_of_text: int) -> None:
    """Write the module of the block, the model around it, and both configurations."""
    (folder / "block.py").write_text(block, encoding="utf-8")
    for name in CODE:
        shutil.copyfile(HERE / f"{name}.j2", folder / name)
    ends = {"bos_token_id": end_of_text, "eos_token_id": end_of_text, "pad_token_id": end_of_text}
    write_json(
        folder / "config.json",
        {
            "model_type": "genesys",
            "architectures": ["GenesysForCausalLM"],
            "auto_map": {
                "AutoConfig": "configuration_genesys.GenesysConfig",
                "AutoModelForCausalLM": "modeling_genesys.GenesysForCausalLM",
            },
            "d_model": model.d_model,
            "n_blocks": model.n_blocks,
            "vocab_size": model.vocab_size,
            "context": model.context,
            **ends,
            "dtype": "float32",
            "use_cache": False,
        },
    )
    write_json(folder / "generation_config.json", {**ends, "use_cache": False})


def write_tokenizer(folder: Path, corpus: Corpus, context: int) -> None:
    """Write the corpus's tokenizer as transformers reads it."""
    from transformers import PreTrainedTokenizerFast

    # A name that the vocabulary lacks would be added to it, beyond the model's embedding.
    end = corpus.tokenizer.id_to_token(corpus.end_of_text)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(corpus.tokenizer_path),
        bos_token=end,
        eos_token=end,
        pad_token=end,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,  # a text that spells the end-of-text token stays text
    )
    tokenizer.save_pretrained(folder)


def _scores(weights: Weights) -> dict[str, object]:
    row = weights.row
    facts = {"rung": weights.scale, "replicate": row.replicate, "tokens": row.tokens}
    return {**facts, "scores": plain(row.scores), "controls": plain(row.controls)}


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON that a person can read."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    path.write_text(text, encoding="utf-8")
