"""What the `[corpus]` table of an experiment may say."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from genesys_engine.plugins.api import Options


class CorpusOptions(Options):
    """Where the text comes from and how it is prepared.

    `python-stdlib` is the source of the running Python's own standard library: real text on any
    machine without a download.  `english` is the State of the Union speeches, the Brown corpus
    and Moby Dick; `genesys-engine data fetch english` brings them.  `text` reads files, folders
    (searched for .txt, .md, .jsonl) and glob patterns; a .jsonl line holds a document in
    `text_field`.
    """

    use: Literal["python-stdlib", "english", "text"] = Field(
        "python-stdlib",
        description="the source of this Python's own library; English prose, fetched once with"
        " `genesys-engine data fetch english`; or text of yours",
    )
    paths: tuple[str, ...] = Field(
        (), description='with use = "text": files, folders (.txt, .md, .jsonl), glob patterns'
    )
    text_field: str = Field("text", description="the field of a .jsonl line that holds the text")
    vocab_size: int = Field(1024, ge=260, le=1 << 20, description="tokens of the tokenizer")
    heldout: float = Field(
        0.05, gt=0, lt=1, description="share of the text that scores and is never trained on"
    )
    max_bytes: int = Field(
        6_000_000, ge=1, description="a larger corpus is cut to it, by whole documents"
    )

    @field_validator("paths", mode="before")
    @classmethod
    def _one_path_is_a_list_of_one(cls, value: object) -> object:
        if isinstance(value, str):
            return (value,)
        return tuple(value) if isinstance(value, list) else value  # strict: only a tuple is one

    @model_validator(mode="after")
    def _paths_belong_to_text(self) -> CorpusOptions:
        if self.use == "text" and not self.paths:
            raise ValueError('use = "text" needs `paths`: files, folders or glob patterns')
        if self.use != "text" and self.paths:
            raise ValueError(f'`paths` has no meaning with use = "{self.use}"')
        return self
