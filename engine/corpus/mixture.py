"""A corpus of several parts with weights: data sets of the hub, or files.

Each part gives its share of `max_bytes`, and they are read in turns, whoever is most behind, so
that the tokenizer meets all of them.  Hub data sets are read through `datasets`: streamed, or
downloaded once and memory-mapped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from genesys_engine.engine.corpus import rows
from genesys_engine.engine.corpus.files import Files, open_files
from genesys_engine.engine.corpus.options import CorpusOptions, CorpusPart
from genesys_engine.gab.errors import EnvironmentProblem, InputError, in_a_line


@dataclass(frozen=True)
class HubPart:
    """A data set of the hub at one revision."""

    part: CorpusPart
    revision: str
    tally: rows.Tally = field(default_factory=rows.Tally, compare=False, repr=False)

    def digest(self) -> str:
        """Return the hex SHA-256 over what names the content: a revision never changes."""
        named = [self.part.hub, self.part.subset, self.part.split, self.revision]
        return hashlib.sha256(json.dumps([*named, self.part.text_field]).encode()).hexdigest()

    def small_documents(self) -> Iterator[str]:
        """Yield the text of its rows.

        Raises:
            InputError: no such data set on the hub, subset or split, a row holds something else
                than text, or none has text.
            EnvironmentProblem: the hub cannot be reached.
        """
        where = f"{self.part.hub} {self.part.subset or ''}".strip()
        field = self.part.text_field
        self.tally.restart()
        numbered = enumerate(self._rows(where), 1)
        yield from rows.texts(numbered, field, self.tally, lambda row: f"{where}, row {row}")
        self.tally.require_text(field)

    def _rows(self, where: str) -> Iterator[Mapping[str, object]]:
        import datasets

        part = self.part
        try:
            found = datasets.load_dataset(
                part.hub,
                part.subset,
                split=part.split,
                revision=self.revision,
                streaming=part.streaming,
            )
            if found.column_names is not None:  # unknown where rows alone tell
                _require_field(part, where, found.column_names)
                found = found.select_columns(part.text_field)
            yield from found
        except InputError:
            raise
        except ValueError as error:  # no such subset or split: the library lists those there are
            raise InputError(str(error), where=where, hint="see [[corpus.parts]]") from error
        except Exception as error:
            raise _unreachable(where, error) from error


@dataclass(frozen=True)
class Mixture:
    """Parts, each with the bytes that it is to give."""

    parts: tuple[tuple[Files | HubPart, int], ...]
    names: tuple[str, ...]

    @property
    def origin(self) -> str:
        """Name the parts with their shares."""
        total = sum(quota for _, quota in self.parts)
        shares = (100 * quota / total for _, quota in self.parts)
        named = zip(self.names, shares, strict=True)
        return "mixture: " + ", ".join(f"{name} {share:.3g} %" for name, share in named)

    def digest(self) -> str:
        """Return the hex SHA-256 over the parts and their shares."""
        named = [[part.digest(), quota] for part, quota in self.parts]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()

    def text_bytes(self) -> None:
        """Say that only reading would tell."""

    def documents(self) -> Iterator[str]:
        """Yield documents until every part has given its share or has no more."""
        reading = [(part.small_documents(), quota) for part, quota in self.parts]
        given = [0] * len(reading)
        open_parts = set(range(len(reading)))
        while open_parts:
            # The one most behind; of equals the first, so that the order is the same each time.
            turn = min(open_parts, key=lambda i: (given[i] / reading[i][1], i))
            text = next(reading[turn][0], None)
            if text is None:
                open_parts.remove(turn)
                continue
            given[turn] += len(text.encode())
            if given[turn] >= reading[turn][1]:
                open_parts.remove(turn)
            if given[turn] <= reading[turn][1]:
                yield text

    def small_documents(self) -> Iterator[str]:
        """Yield the documents."""
        return self.documents()

    @property
    def tally(self) -> rows.Tally:
        """What the newest pass has met in the rows of all parts."""
        return sum((part.tally for part, _ in self.parts), rows.Tally())


def open_mixture(options: CorpusOptions) -> Mixture:
    """Find the parts; asks the hub for the newest revision where none is given.

    Raises:
        InputError: a path does not exist.
        EnvironmentProblem: the hub cannot be reached.
    """
    total = sum(part.weight for part in options.parts)
    found = []
    for part in options.parts:
        source = (
            HubPart(part, _revision(part)) if part.hub else open_files(part.paths, part.text_field)
        )
        found.append((source, max(1, round(options.max_bytes * part.weight / total))))
    names = tuple(
        "/".join(filter(None, (part.hub or ", ".join(part.paths), part.subset)))
        for part in options.parts
    )
    return Mixture(tuple(found), names)


def _revision(part: CorpusPart) -> str:
    """Return the revision that is given, or the newest that the hub has."""
    if part.revision is not None:
        return part.revision
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        return str(HfApi().dataset_info(str(part.hub)).sha)
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise InputError(
            "no such data set on the hub", where=str(part.hub), hint="see [[corpus.parts]]"
        ) from error
    except Exception as error:
        raise _unreachable(str(part.hub), error) from error


def _require_field(part: CorpusPart, where: str, fields: Sequence[str]) -> None:
    """Raise InputError where a data set has no field of that name, before all of it is read."""
    if part.text_field not in fields:
        raise InputError(
            f"the data set has no field {part.text_field!r}; it has {', '.join(fields)}",
            where=where,
            hint="set text_field",
        )


def _unreachable(where: str, error: Exception) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"cannot be read from the hub: {in_a_line(error)}",
        where=where,
        hint='go online, or name files on this machine: paths = ["folder/*.parquet"]',
    )
