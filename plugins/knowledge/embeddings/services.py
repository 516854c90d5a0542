"""Embeddings of others: any sentence-transformers model, any model behind LiteLLM."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genesys_engine.gab.errors import EnvironmentProblem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from genesys_engine.plugins.knowledge.embeddings import Embedding

PROBE = "dimension"
BATCH = 64
TIMEOUT_S = 60.0
ATTEMPTS = 3


def open_service(kind: str, model: str) -> Embedding:
    """Return the embedding `kind:model`."""
    if kind == "litellm":
        return LiteLLMEmbedding(model)
    return SentenceTransformerEmbedding(model)


class SentenceTransformerEmbedding:
    """A model by the name or folder under which sentence-transformers loads it."""

    def __init__(self, model: str) -> None:
        self.name = f"sentence-transformers:{model}"
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise EnvironmentProblem(
                "the library is not installed",
                where=self.name,
                hint="pip install 'genesys-engine[sentence-transformers]'",
            ) from error
        try:
            self._model: Any = SentenceTransformer(model, device="cpu")
        except Exception as error:
            raise _unusable(self.name, error) from error

        self.dimension = int(self.embed([PROBE]).shape[1])

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one row of unit length per text (N, dimension)."""
        return _unit(self._model.encode(list(texts), show_progress_bar=False))


class LiteLLMEmbedding:
    """A model behind LiteLLM; keys come from the environment, as the provider names them.

    Three attempts with growing pauses; the library's own retries repeat what can't succeed.
    """

    def __init__(self, model: str) -> None:
        self.name = f"litellm:{model}"
        self._model = model
        self.dimension = int(self.embed([PROBE]).shape[1])

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one row of unit length per text (N, dimension)."""
        rows: list[Any] = []
        for start in range(0, len(texts), BATCH):
            rows += self._ask(list(texts[start : start + BATCH]))
        return _unit(rows)

    def _ask(self, texts: list[str]) -> list[Any]:
        # Without these the import asks the network for a price list.
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
        import tenacity

        litellm: Any = importlib.import_module("litellm")
        litellm.suppress_debug_info = True
        again = (litellm.RateLimitError, litellm.APIConnectionError, litellm.InternalServerError)
        policy = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_exponential(max=20),
            retry=tenacity.retry_if_exception_type(again),
            reraise=True,
        )
        try:
            reply = policy(
                litellm.embedding,
                model=self._model,
                input=texts,
                timeout=TIMEOUT_S,
                max_retries=0,
                api_base=os.environ.get("GENESYS_EMBEDDING_BASE"),
                encoding_format="float",
            )
        except Exception as error:
            raise _unusable(self.name, error) from error
        return [entry["embedding"] for entry in sorted(reply.data, key=lambda e: e["index"])]


def _unit(rows: Any) -> NDArray[np.float32]:
    """Return rows scaled to length 1, float32."""
    import numpy as np

    found = np.asarray(rows, dtype=np.float32)
    lengths = np.linalg.norm(found, axis=1, keepdims=True).astype(np.float32)
    unit: NDArray[np.float32] = found / np.maximum(lengths, np.float32(1e-12))
    return unit


def _unusable(name: str, error: Exception) -> EnvironmentProblem:
    lines = f"{type(error).__name__}: {error}".strip().splitlines()
    return EnvironmentProblem(
        f"the embedding cannot be used: {lines[0]}",
        where=name,
        hint="check the name of the model and its key, or choose --embedding hashed",
    )
