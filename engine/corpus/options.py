"""What the `[corpus]` table of an experiment may say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from genesys_engine.plugins.api import NAME_UNLESS_THERE, PATH, PATH_OR_NAME, Options


def _tuples(value: object) -> object:
    """Return a list as a tuple: options are strict, and a file's list is none."""
    return tuple(value) if isinstance(value, list) else value


def _paths(value: object) -> object:
    """Return one path as a list of one."""
    return (value,) if isinstance(value, str) else _tuples(value)


Paths = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],  # "" would be the folder one stands in
    BeforeValidator(_paths),
]


class CorpusPart(Options):
    """One part of a mixture: a data set of the hub, or files."""

    hub: str | None = Field(
        None,
        description='a data set of the hub, "owner/name", or a folder in that form (a path that'
        " begins with / or ./)",
        json_schema_extra=PATH_OR_NAME,
    )
    subset: str | None = Field(None, description="subset of the data set, if any")
    split: str = Field("train", description="its split")
    revision: str | None = Field(
        None,
        description="commit of the data set; default: the newest, which contacts the hub each time",
    )
    streaming: bool = Field(
        True, description="read over the network; false: download it first and map it into memory"
    )
    paths: Paths = Field(
        (),
        description="files, folders and glob patterns in place of a data set of the hub",
        json_schema_extra=PATH,
    )
    text_field: str = Field("text", description="the field of a row that holds the text")
    weight: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="share of the text, relative to other parts"
    )

    @model_validator(mode="after")
    def _one_place(self) -> CorpusPart:
        if (self.hub is None) == (not self.paths):
            raise ValueError("a part needs either `hub` or `paths`")
        return self


class CorpusOptions(Options):
    """Where the text comes from and how it is prepared.

    `python-stdlib` is the source of the running Python's own standard library: real text on any
    machine without a download.  `english` is the State of the Union speeches, the Brown corpus
    and Moby Dick; `genesys-engine data fetch english` brings them.  `text` reads files, folders
    (searched for .txt, .md, .jsonl, .parquet) and glob patterns; a row holds a document in
    `text_field`.  `mixture` reads `parts`, each for its share of `max_bytes`.
    """

    use: Literal["python-stdlib", "english", "text", "mixture"] = Field(
        "python-stdlib",
        description="python: the source of Python's standard library; english: prose, downloaded"
        " once with `genesys-engine data fetch english`; text: your own files; mixture: several"
        " weighted parts",
    )
    paths: Paths = Field(
        (),
        description='with use = "text": files, folders (.txt, .md, .jsonl, .parquet), patterns',
        json_schema_extra=PATH,
    )
    parts: Annotated[tuple[CorpusPart, ...], BeforeValidator(_tuples)] = Field(
        (), description='With use = "mixture": the parts.'
    )
    text_field: str = Field(
        "text", description="the field of a row (.jsonl, .parquet) that holds the text"
    )
    tokenizer: str | None = Field(
        None,
        description="a pretrained byte-level BPE: a tokenizer.json, its folder or a name on the"
        " hub; default: a new one, trained on the text",
        json_schema_extra=NAME_UNLESS_THERE,
    )
    vocab_size: int = Field(
        1024, ge=260, le=1 << 20, description="vocabulary size of the trained tokenizer"
    )
    heldout: float = Field(0.05, gt=0, lt=1, description="share of the text held out for scoring")
    max_bytes: int = Field(
        6_000_000, ge=1, description="larger corpora are cut to this size, by whole documents"
    )

    @model_validator(mode="after")
    def _text_is_named(self) -> CorpusOptions:
        if self.use == "text" and not self.paths:
            raise ValueError('use = "text" needs `paths`: files, folders or glob patterns')
        if self.use != "text" and self.paths:
            raise ValueError(f'`paths` has no effect with use = "{self.use}"')
        if self.use == "mixture" and not self.parts:
            raise ValueError('use = "mixture" needs [[corpus.parts]]')
        if self.use != "mixture" and self.parts:
            raise ValueError(f'`parts` has no effect with use = "{self.use}"')
        return self
