"""The content of the knowledge engine: documents, and the passages used to search them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass

PASSAGE = 1600
"""Characters of one passage: about 350 tokens, near to what embedding models were trained on."""

# Lone surrogates and control characters come out of broken PDFs; neither Arrow nor a terminal
# takes them.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

# Where a word may be divided, and where it was, at the end of a line.
_SOFT_HYPHEN = re.compile("\u00ad(?:[ \t]*\n[ \t]*)?")

_NAME = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Document:
    """One paper, card, note or file.

    `id` is stable: the same document added again replaces what there is.  It begins with the
    name of the source, as in `arxiv:2405.21060`.  `arxiv` tells the same paper of two sources;
    `unit` names a unit of the library that implements what the document describes; `aliases` are
    what else it is called: who asks for a name gets its document first.

    Lone surrogates, which cannot be stored, are written out in names and addresses ("\\ud800").
    """

    id: str
    title: str
    text: str
    source: str
    year: int | None = None
    authors: tuple[str, ...] = ()
    arxiv: str = ""
    url: str = ""
    unit: str = ""
    tags: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("id", "source", "arxiv", "url", "unit"):
            object.__setattr__(self, name, encodable(getattr(self, name)))
        object.__setattr__(self, "tags", tuple(map(encodable, self.tags)))

    @property
    def names(self) -> tuple[str, ...]:
        """Its names, as given by `name_of`: title, its head, key, unit, aliases."""
        head = self.title.partition(":")[0]
        called = (self.title, head, self.id.partition(":")[2], self.unit, *self.aliases)
        return tuple(dict.fromkeys(filter(None, map(name_of, called))))

    @property
    def digest(self) -> str:
        """Return the hex SHA-256 over all that is stored; equal documents are added once."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def name_of(text: str) -> str:
    """Return a name without case, spaces and signs: "Mamba-2" and "mamba 2" are one."""
    return "".join(_NAME.findall(clean(text).casefold()))


def encodable(text: str) -> str:
    """Return text with lone surrogates written out: different texts stay different."""
    return text.encode("utf-8", "backslashreplace").decode()


def clean(text: str) -> str:
    """Return printable text without soft hyphens: a word divided by one is whole again."""
    return _SOFT_HYPHEN.sub("", printable(text))


def printable(text: str) -> str:
    """Return text without control characters and lone surrogates, line breaks as \\n."""
    return _UNPRINTABLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def passages(document: Document) -> list[str]:
    """Return the texts under which a document is found: its title with a part of its text each.

    Parts end between paragraphs where they can, and a long document has several.
    """
    parts = list(_parts(clean(document.text).strip())) or [""]
    title = clean(document.title).strip()
    return [f"{title}\n\n{part}".strip() for part in parts]


def _parts(text: str) -> Iterator[str]:
    """Yield consecutive parts of at most `PASSAGE` characters, cut as gently as possible."""
    while len(text) > PASSAGE:
        cut = _cut(text[:PASSAGE])
        if part := text[:cut].strip():
            yield part
        text = text[cut:].lstrip()
    if text:
        yield text


def _cut(text: str) -> int:
    """Return where to end a part: after a paragraph, a sentence, a word, or anywhere."""
    for mark in ("\n\n", ". ", "\n", " "):
        found = text.rfind(mark)
        if found > PASSAGE // 2:
            return found + len(mark)
    return len(text)
