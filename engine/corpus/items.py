"""Items of the two offline lm-eval tasks, made from held-out documents.

`continuation`: which of four passages follows the context?  The other three are taken from
other documents; all four have the same number of tokens and start with a word.

`corruption`: which of two endings is intact?  In the other one two neighbouring words stand in
each other's place: both have the same tokens, so that a model that ignores order is at chance.

Both are kept short enough for a context of 128 tokens, and each text encodes to the very tokens
that it has within its document, so that models see what they were trained on.  A continuation
whose beginning stands anywhere in the training documents (a licence, copied code) is not used;
compare the overlap filter of Brown et al. 2020, arXiv 2005.14165, appendix C.
"""

from __future__ import annotations

import json
import random
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.engine.common.records import to_json

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

ITEMS = 200  # per task, where there is text for as many
FEWEST_ITEMS = 8  # that a task may be scored with
CHOICES = 4
CONTEXT_TOKENS = 48
CONTINUATION_TOKENS = 16
LONGEST = 96  # tokens of context and continuation together
PER_DOCUMENT = 64  # passages, so that long documents do not outweigh the others
MOST_PASSAGES = 4000
OVERLAP = 12  # tokens in common that make a continuation known; the last word may be cut
TOKENS_AT_ONCE = 1 << 22  # of training text, when looking for a continuation
WORD = re.compile("Ġ[A-Za-z]+")  # byte-level BPE spells a leading space so
WORD_START = ("Ġ", "Ċ")  # and a newline so


@dataclass(frozen=True)
class Passage:
    """Neighbouring tokens of one document: a context, then a continuation from a word's start."""

    document: int
    context: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True)
class Item:
    """One item, as the task's configuration reads it; `label` is the place of the right choice."""

    context: str
    choices: tuple[str, ...]
    label: int


def write_items(
    texts: Iterable[str], training: NDArray[Any], tokenizer: Tokenizer, folder: Path
) -> dict[str, int]:
    """Write `continuation.jsonl` and `corruption.jsonl`; return the number of items by task.

    `texts` are the held-out documents, `training` the packed tokens of the others.  Short ones
    yield few items or none: whoever wants a task holds that against FEWEST_ITEMS.
    """
    rng = random.Random("genesys_engine.corpus.items")
    passages = _unseen(_passages(texts, tokenizer, rng), training)
    tasks = {
        "continuation": _continuation_items(passages, tokenizer, rng),
        "corruption": _corruption_items(passages, tokenizer, rng),
    }
    folder.mkdir()
    for name, items in tasks.items():
        lines = "".join(json.dumps(to_json(item), ensure_ascii=False) + "\n" for item in items)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return {name: len(items) for name, items in tasks.items()}


def _passages(texts: Iterable[str], tokenizer: Tokenizer, rng: random.Random) -> list[Passage]:
    """Cut disjoint passages out of every document, in random order."""
    found: list[Passage] = []
    for document, text in enumerate(texts):
        if len(found) >= MOST_PASSAGES:
            break
        encoding = tokenizer.encode(text, add_special_tokens=False)
        places = list(_places(encoding.tokens))
        for start, cut in rng.sample(places, min(len(places), PER_DOCUMENT)):
            ids = encoding.ids[start : cut + CONTINUATION_TOKENS]
            passage = Passage(document, tuple(ids[: cut - start]), tuple(ids[cut - start :]))
            if _stable(passage, tokenizer):
                found.append(passage)
    rng.shuffle(found)
    return found


def _places(spelled: list[str]) -> Iterator[tuple[int, int]]:
    """Yield disjoint (start of context, start of continuation), both at the start of a word."""
    words = [i for i, token in enumerate(spelled) if WORD.fullmatch(token)]
    free = 0
    for start in words:
        following = bisect_left(words, start + CONTEXT_TOKENS)
        if start < free or following == len(words):
            continue
        cut = words[following]
        stop = cut + CONTINUATION_TOKENS
        if stop <= min(len(spelled), start + LONGEST):
            yield start, cut
            free = stop


def _unseen(passages: list[Passage], training: NDArray[Any]) -> list[Passage]:
    """Return the passages whose continuation does not begin anywhere in the training tokens."""
    import numpy as np

    if not passages:
        return []
    starts = np.array([passage.continuation[:OVERLAP] for passage in passages])
    wanted = _fingerprints(starts.ravel())[::OVERLAP]
    keys = np.sort(wanted)
    seen = np.zeros(len(wanted), dtype=bool)
    for start in range(0, len(training), TOKENS_AT_ONCE):
        part = training[start : start + TOKENS_AT_ONCE + OVERLAP - 1]
        found = _fingerprints(part)
        # `isin` alone would sort the whole part; a few keys are found in it much faster.
        nearest = keys[np.minimum(np.searchsorted(keys, found), len(keys) - 1)]
        seen |= np.isin(wanted, found[nearest == found])
    return [passage for passage, known in zip(passages, seen, strict=True) if not known]


def _fingerprints(tokens: NDArray[Any]) -> NDArray[Any]:
    """Return a polynomial hash (modulo 2^64) of every run of OVERLAP tokens."""
    import numpy as np

    count = max(0, len(tokens) - OVERLAP + 1)
    total = np.zeros(count, dtype=np.uint64)
    for shift in range(OVERLAP):
        # Knuth's 64-bit LCG multiplier; arrays wrap around without a warning.
        total = total * np.uint64(6364136223846793005) + tokens[shift : shift + count].astype("u8")
    return total


def _stable(passage: Passage, tokenizer: Tokenizer) -> bool:
    """Tell whether both parts are text that encodes to the same tokens when taken alone."""
    return all(_text(part, tokenizer) for part in (passage.context, passage.continuation))


def _text(ids: tuple[int, ...], tokenizer: Tokenizer) -> str:
    """Return the text of tokens, or "" where it would encode to other tokens."""
    text: str = tokenizer.decode(list(ids), skip_special_tokens=False)
    same = tuple(tokenizer.encode(text, add_special_tokens=False).ids) == ids
    return text if same else ""


def _continuation_items(
    passages: list[Passage], tokenizer: Tokenizer, rng: random.Random
) -> list[Item]:
    """Return items with four choices; the label's place is random."""
    items: list[Item] = []
    for passage in passages:
        if len(items) == ITEMS:
            break
        others = {
            other.continuation
            for other in rng.sample(passages, min(len(passages), 4 * CHOICES))
            if other.document != passage.document and other.continuation != passage.continuation
        }
        if len(others) >= CHOICES - 1:
            wrong = rng.sample(sorted(others), CHOICES - 1)
            items.append(_item(passage, passage.continuation, wrong, tokenizer, rng))
    return items


def _corruption_items(
    passages: list[Passage], tokenizer: Tokenizer, rng: random.Random
) -> list[Item]:
    """Return items with two choices, the intact ending and one with two words swapped."""
    items: list[Item] = []
    for passage in reversed(passages):  # far from those that `continuation` used
        if len(items) == ITEMS:
            break
        swapped = _swap_words(passage.continuation, tokenizer, rng)
        if swapped is not None:
            items.append(_item(passage, passage.continuation, [swapped], tokenizer, rng))
    return items


def _swap_words(
    ids: tuple[int, ...], tokenizer: Tokenizer, rng: random.Random
) -> tuple[int, ...] | None:
    """Exchange two different neighbouring words, or return None where that cannot be done."""
    starts = [
        i for i, token in enumerate(ids) if str(tokenizer.id_to_token(token)).startswith(WORD_START)
    ]
    bounds = [*starts, len(ids)]
    words = [ids[a:b] for a, b in zip([0, *starts], bounds, strict=True) if a < b]
    places = [i for i in range(len(words) - 2) if words[i] != words[i + 1]]
    rng.shuffle(places)
    for i in places:
        order = [*words[:i], words[i + 1], words[i], *words[i + 2 :]]
        swapped = tuple(token for word in order for token in word)
        if _text(swapped, tokenizer):
            return swapped
    return None


def _item(
    passage: Passage,
    right: tuple[int, ...],
    wrong: list[tuple[int, ...]],
    tokenizer: Tokenizer,
    rng: random.Random,
) -> Item:
    """Return one item, its choices in a random order."""
    choices = [right, *wrong]
    rng.shuffle(choices)
    texts = tuple(_text(choice, tokenizer) for choice in choices)
    return Item(_text(passage.context, tokenizer), texts, choices.index(right))
