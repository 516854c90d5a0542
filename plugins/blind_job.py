"""The job that predicts tokens which this process does not have.

A block could know that it is evaluated, and a process that holds the answers could give them.
Here a trained model is given the beginnings of held-out texts and nothing else; what follows is
known to the engine alone, which reckons the score from the logits.  A second job is given the whole
windows, so that the engine can tell whether what follows changes anything (`engine/blind.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

PREDICTIONS = "predictions.safetensors"


def predict(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Predict the token behind a place of every text; writes `PREDICTIONS` into `scratch`.

    Payload: `source` (composed module), `model` (d_model, n_blocks, vocab_size, context),
    `checkpoint` (path), `texts`, lists of equally long lists of tokens, and for each list its place
    in `places`; left out, it is the last.  The file holds one tensor of logits
    (texts, vocab_size), float32, for each list: "0", "1" ...

    Raises:
        RuntimeError: the checkpoint is not of this model.
        Exception: whatever the block raises.
    """
    import torch
    from safetensors.torch import save_file

    from genesys_engine.gab.compose import load_block
    from genesys_engine.gab.model import LanguageModel
    from genesys_engine.gab.scales import ModelConfig
    from genesys_engine.plugins.checkpoint import load_checkpoint

    model = LanguageModel(load_block(payload["source"]), ModelConfig(**payload["model"]))
    load_checkpoint(model, Path(payload["checkpoint"]))
    model.eval()
    places = payload.get("places") or [-1] * len(payload["texts"])
    with torch.inference_mode():
        logits = {
            str(number): model(torch.tensor(texts))[:, place].float().contiguous()
            for number, (texts, place) in enumerate(zip(payload["texts"], places, strict=True))
        }
    save_file(logits, scratch / PREDICTIONS)
    return {"predictions": PREDICTIONS}
