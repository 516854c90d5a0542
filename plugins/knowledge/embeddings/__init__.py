"""Embeddings: from texts to unit vectors, chosen by name.

hashed                      counted words in numpy: no model, no torch; the default
minilm                      all-MiniLM-L6-v2 (extra `minilm`)
sentence-transformers:NAME  any model that the library loads
litellm:NAME                any hosted or local model that LiteLLM reaches
package.module:Class        your own: a class without arguments that follows `Embedding`
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from genesys_engine.gab.errors import InputError, PluginError
from genesys_engine.plugins.registry import suggest
from genesys_engine.plugins.targets import load_target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT = "hashed"
"""The same on every machine, at no cost; docs/knowledge.md compares it with `minilm`."""
BUILT_IN = ("hashed", "minilm")
SERVICES = ("sentence-transformers", "litellm")


class Embedding(Protocol):
    """Turns texts into vectors; equal texts give equal vectors."""

    name: str
    dimension: int

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one row of unit length per text (N, dimension), float32."""


def check_name(name: str) -> str:
    """Return `name` if it is the name of an embedding, without loading it.

    Raises:
        InputError: the embedding is unknown.
    """
    if name not in BUILT_IN and not name.partition(":")[2]:
        known = (*BUILT_IN, *(f"{service}:NAME" for service in SERVICES))
        raise InputError(
            "unknown embedding", where=f"embedding {name!r}", hint=suggest(name, known)
        )
    return name


def open_embedding(name: str) -> Embedding:
    """Load the embedding of this name.

    Raises:
        InputError, PluginError, EnvironmentProblem: there is none, or it cannot be loaded.
    """
    check_name(name)
    kind, _, model = name.partition(":")
    if name == "hashed":
        from genesys_engine.plugins.knowledge.embeddings.hashed import Hashed

        return Hashed()
    if name == "minilm":
        from genesys_engine.plugins.knowledge.embeddings.minilm import MiniLM

        return MiniLM()
    if kind in SERVICES:
        from genesys_engine.plugins.knowledge.embeddings import services

        return services.open_service(kind, model)
    return _own(name)


def _own(target: str) -> Embedding:
    """Return an instance of somebody's class."""
    made: Any = load_target(target)()
    if not all(hasattr(made, part) for part in ("dimension", "embed")):
        raise PluginError("is no embedding: it lacks `dimension` or `embed`", where=target)
    made.name = target
    embedding: Embedding = made
    return embedding
