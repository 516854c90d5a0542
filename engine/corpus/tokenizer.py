"""The tokenizer of a corpus: byte-level BPE that is trained on it, or a pretrained one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.plugins.corpus import END_OF_TEXT

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TRAINED_ON = 32_000_000  # characters; more text does not move the merges of a vocabulary
END_TOKENS = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>")
"""What pretrained tokenizers call the token after a document; the first that is there counts."""


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train byte-level BPE (Sennrich et al. 2016; Radford et al. 2019) on training documents."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_capped(texts, TRAINED_ON), trainer)
    return tokenizer


def open_pretrained(name: str | None) -> Tokenizer | None:
    """Return the pretrained tokenizer of that name; None for none.

    Args:
        name: a `tokenizer.json`, a folder with one, or a name on the hub.

    Raises:
        InputError: there is none, or it does not spell text byte by byte: bits per byte could
            not be counted.
        EnvironmentProblem: the hub cannot be reached.
    """
    if name is None:
        return None
    from tokenizers import Tokenizer

    path = Path(name).expanduser()
    if path.is_dir():
        path = path / "tokenizer.json"
    try:
        if path.exists():
            tokenizer = Tokenizer.from_file(str(path))
        elif name.count("/") > 1 or path.suffix == ".json":
            raise InputError("no such tokenizer", where=name, hint=HINT)
        else:
            tokenizer = _from_hub(name)
    except (InputError, EnvironmentProblem):
        raise
    except Exception as error:  # the library raises bare exceptions
        raise InputError(f"the tokenizer cannot be read: {error}", where=name, hint=HINT) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if not _byte_level(tokenizer):
        raise InputError(
            "the tokenizer is not byte-level BPE, so bits per byte cannot be computed",
            where=name,
            hint="use a tokenizer like those of GPT-2, Llama 3, Qwen or SmolLM",
        )
    if all(tokenizer.token_to_id(end) is None for end in END_TOKENS):
        tokenizer.add_special_tokens([END_OF_TEXT])
    return tokenizer


HINT = "set corpus.tokenizer to a tokenizer.json, its folder, or a name on the hub"


def vocabulary_size(tokenizer: Tokenizer) -> int:
    """Return one more than the largest token id; ids of a pretrained one may have gaps."""
    return 1 + max(tokenizer.get_vocab(with_added_tokens=True).values())


def end_of_text(tokenizer: Tokenizer) -> int:
    """Return the id of the token that follows every document."""
    return next(
        int(found) for end in END_TOKENS if (found := tokenizer.token_to_id(end)) is not None
    )


def _from_hub(name: str) -> Tokenizer:
    """Return a tokenizer by its name on the hub, or from the hub's cache on this machine."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(hf_hub_download(name, "tokenizer.json"))
    except (RepositoryNotFoundError, EntryNotFoundError, OSError, ValueError) as error:
        absent = isinstance(error, RepositoryNotFoundError | EntryNotFoundError)
        if absent and not isinstance(error, LocalEntryNotFoundError):
            raise InputError("no such tokenizer on the hub", where=name, hint=HINT) from error
        raise EnvironmentProblem(
            f"the tokenizer cannot be fetched from the hub: {type(error).__name__}",
            where=name,
            hint="go online, or set corpus.tokenizer to a tokenizer.json on this machine",
        ) from error


def _byte_level(tokenizer: Tokenizer) -> bool:
    """Tell whether every byte is spelled as one character of the byte-level alphabet."""
    from tokenizers import pre_tokenizers

    return all(
        tokenizer.token_to_id(character) is not None
        for character in pre_tokenizers.ByteLevel.alphabet()
    )


def _capped(texts: Iterable[str], limit: int) -> Iterator[str]:
    """Yield texts until `limit` characters have been seen."""
    seen = 0
    for text in texts:
        if seen >= limit:
            return
        seen += len(text)
        yield text
