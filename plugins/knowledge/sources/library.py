"""Reference cards: Markdown files with a small front matter.

---
key: mamba2
title: "Mamba-2: state space duality"
authors: [Tri Dao, Albert Gu]
year: 2024
arxiv: "2405.21060"
unit: mamba2_mixer        # optional: the unit of the library that implements it
tags: [state space]
aliases: [SSD]            # optional: what else it is called
---
The idea in our words ...
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.knowledge.documents import Document
from genesys_engine.plugins.knowledge.sources.options import LibraryOptions
from genesys_engine.plugins.paths import user_path

CARDS = Path(__file__).parents[1] / "cards"
FRONT = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*\n(.*)\Z", re.S)


class Card(BaseModel):
    """The front matter of a card; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    title: str = Field(min_length=1)
    authors: tuple[str, ...] = Field(min_length=1)
    year: int = Field(ge=1900, le=2100)
    arxiv: str = Field("", pattern=r"^(\d{4}\.\d{4,5}|[a-z-]+(\.[A-Z]{2})?/\d{7}|)$")
    interface: str = ""
    unit: str = ""
    tags: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


class LibrarySource:
    """Reads the cards of a folder, sorted by name; a faulty card is an error of its own."""

    Options = LibraryOptions

    def __init__(self, options: LibraryOptions | None = None, **_: Any) -> None:
        self.options = options or LibraryOptions()

    def fetch(self, place: str = "") -> Iterator[Document | InputError]:
        """Yield every card, or the one whose key is `place`.

        Raises:
            InputError: the folder does not exist, or the key is unknown.
        """
        folder = CARDS if self.options.folder is None else user_path(self.options.folder)
        if self.options.folder is not None and not folder.is_dir():
            raise InputError("no such folder of cards", where=str(folder))
        seen: dict[str, Path] = {}
        for path in sorted(folder.glob("*.md")):
            try:
                document = read_card(path)
                if document.id in seen:
                    raise InputError(f"has the key of {seen[document.id].name}", where=str(path))
                seen[document.id] = path
            except InputError as error:
                yield error
                continue
            if place in ("", document.id.partition(":")[2]):
                yield document
        if place and f"library:{place}" not in seen:
            raise InputError("no such card", where=f"library:{place}")

    def search(self, query: str, limit: int) -> Sequence[Document]:
        """Return nothing: cards are searched in the base."""
        return ()


def read_card(path: Path) -> Document:
    """Return the card in a file.

    Raises:
        InputError: its front matter is missing or invalid.
    """
    import yaml

    try:
        match = FRONT.match(path.read_text(encoding="utf-8-sig").replace("\r\n", "\n"))
        if match is None:
            raise InputError(
                "has no front matter", where=f"{path}:1", hint="begin with ---, key: ..., ---"
            )
        card = Card.model_validate(yaml.safe_load(match[1]))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors())
        raise InputError(f"wrong front matter: {faults}", where=str(path)) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 2 if mark is not None else 1  # the front matter begins on line 2
        problem = getattr(error, "problem", None) or error
        raise InputError(f"wrong front matter: {problem}", where=f"{path}:{line}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from error
    return Document(
        id=f"library:{card.key}",
        title=card.title,
        text=match[2].strip(),
        source="library",
        year=card.year,
        authors=card.authors,
        arxiv=card.arxiv,
        url=f"https://arxiv.org/abs/{card.arxiv}" if card.arxiv else "",
        unit=card.unit,
        tags=(*card.tags, *([card.interface] if card.interface else [])),
        aliases=card.aliases,
    )
