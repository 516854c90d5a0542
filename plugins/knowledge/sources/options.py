"""Options of the built-in sources; nothing heavy is imported."""

from __future__ import annotations

from pydantic import Field

from genesys_engine.plugins.api import Options

PAUSE = "least seconds between two requests of this machine"


class LibraryOptions(Options):
    """Which cards are read."""

    folder: str | None = Field(
        None, description="a folder of cards of your own; none for those of the project"
    )


class FolderOptions(Options):
    """Which files of a folder are read, and how large they may be."""

    max_mb: float = Field(
        64.0,
        gt=0,
        allow_inf_nan=False,
        description="larger files are left out; JSON lines are read one by one, without a limit",
    )
    max_line_mb: float = Field(
        4.0,
        gt=0,
        allow_inf_nan=False,
        description="a longer line of a JSON-lines file is left out",
    )


class RemoteOptions(Options):
    """How a service is asked."""

    timeout_s: float = Field(
        20.0, gt=0, allow_inf_nan=False, description="seconds to wait for one answer"
    )
    attempts: int = Field(
        3, ge=1, description="requests made before the service counts as unreachable"
    )
    cache_days: float = Field(
        30.0,
        ge=0,
        allow_inf_nan=False,
        description="how long an answer is used again without asking",
    )


class ArxivOptions(RemoteOptions):
    """How arXiv is asked; its terms of use allow one request in three seconds."""

    url: str = Field("https://export.arxiv.org/api/query", description="the interface to ask")
    interval_s: float = Field(3.0, ge=0, allow_inf_nan=False, description=PAUSE)
    category: str = Field(
        "cat:cs.LG OR cat:cs.CL",
        description="searches are limited to this; empty for all of arXiv",
    )


class SemanticScholarOptions(RemoteOptions):
    """How Semantic Scholar is asked; with a key in S2_API_KEY it answers more readily."""

    url: str = Field("https://api.semanticscholar.org/graph/v1", description="the interface to ask")
    interval_s: float = Field(1.1, ge=0, allow_inf_nan=False, description=PAUSE)


class WebOptions(RemoteOptions):
    """Which search endpoint is asked; its key is read from the environment."""

    url: str = Field(
        min_length=1,
        description="the endpoint that a query is posted to, "
        "such as https://api.openai.com/v1/vector_stores/ID/search",
    )
    key_variable: str = Field(
        "OPENAI_API_KEY",
        description="name of the environment variable that holds the key; it may be unset",
    )
    limit_field: str = Field(
        "max_num_results",
        description="how the endpoint calls the number of results: max_num_results (OpenAI's "
        "vector stores) or max_results (LiteLLM's and Perplexity's search)",
    )
    interval_s: float = Field(0.2, ge=0, allow_inf_nan=False, description=PAUSE)
