"""Options of the built-in sources; nothing heavy is imported."""

from __future__ import annotations

from pydantic import Field

from genesys_engine.plugins.api import Options


class LibraryOptions(Options):
    """Which cards are read."""

    folder: str | None = None
    """A folder of cards of your own; None for those that ship with the project."""


class FolderOptions(Options):
    """Which files of a folder are read, and how large they may be."""

    max_mb: float = Field(64.0, gt=0, allow_inf_nan=False)
    """A Markdown, text, PDF or BibTeX file above this size is left out; JSON lines are read one
    by one and have no limit."""
    max_line_mb: float = Field(4.0, gt=0, allow_inf_nan=False)
    """A longer line of a JSON-lines file is left out."""


class RemoteOptions(Options):
    """How a service is asked."""

    timeout_s: float = Field(20.0, gt=0, allow_inf_nan=False)
    """Time for one answer."""
    attempts: int = Field(3, ge=1)
    """Requests made before the service counts as unreachable."""
    cache_days: float = Field(30.0, ge=0, allow_inf_nan=False)
    """How long an answer is used again without asking."""


class ArxivOptions(RemoteOptions):
    """How arXiv is asked; its terms of use allow one request in three seconds."""

    url: str = "https://export.arxiv.org/api/query"
    interval_s: float = Field(3.0, ge=0, allow_inf_nan=False)
    """Least time between two requests of this machine."""
    category: str = "cat:cs.LG OR cat:cs.CL"
    """Searches are limited to this; empty for all of arXiv."""


class SemanticScholarOptions(RemoteOptions):
    """How Semantic Scholar is asked; with a key in S2_API_KEY it answers more readily."""

    url: str = "https://api.semanticscholar.org/graph/v1"
    interval_s: float = Field(1.1, ge=0, allow_inf_nan=False)
    """Least time between two requests of this machine."""


class WebOptions(RemoteOptions):
    """Which search endpoint is asked; its key is read from the environment."""

    url: str = Field(min_length=1)
    """The endpoint that a query is posted to, such as https://api.openai.com/v1/vector_stores/ID/search."""
    key_variable: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key; it may be unset."""
    limit_field: str = "max_num_results"
    """How the endpoint calls the number of results: `max_num_results` (OpenAI's vector stores)
    or `max_results` (LiteLLM's and Perplexity's search)."""
    interval_s: float = Field(0.2, ge=0, allow_inf_nan=False)
    """Least time between two requests of this machine."""
