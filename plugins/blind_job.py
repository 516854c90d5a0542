"""The job that predicts tokens which this process does not have.

A block could know that it is evaluated, and a process that holds the answers could give them.
Here a trained model is given the beginnings of held-out texts and nothing else; what follows is
known to the engine alone, which reckons the score from the logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

PREDICTIONS = "predictions.safetensors"


def predict(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Predict the next token of every beginning; writes `PREDICTIONS` into `scratch`.

    Payload: `source` (composed module), `model` (d_model, n_blocks, vocab_size, context),
    `checkpoint` (path) and `beginnings`, lists of equally long lists of tokens.  The file holds
    one tensor of logits (texts, vocab_size), float32, for each list: "0", "1" ...

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
    with torch.inference_mode():
        logits = {
            str(number): model(torch.tensor(texts))[:, -1].float().contiguous()
            for number, texts in enumerate(payload["beginnings"])
        }
    save_file(logits, scratch / PREDICTIONS)
    return {"predictions": PREDICTIONS}
