"""Jobs that the executor `slurm` is tested with; each says when it began."""

import time
from pathlib import Path

TRAINING = "training.safetensors"


def slow(payload, scratch):
    """Take some seconds, and leave a file."""
    began = time.time()
    (Path(scratch) / "left.txt").write_text("left")
    time.sleep(payload["seconds"])
    return {"began": began}


def trained(payload, scratch):
    """Leave a training checkpoint and be slow, or continue from one that is there."""
    state = Path(scratch) / TRAINING
    if state.exists():
        time.sleep(payload.get("seconds", 0.0))
        return {"resumed": state.read_text(), "others": sorted(p.name for p in scratch.iterdir())}
    state.write_text("so far")
    (Path(scratch) / "of-this-start").write_text("")
    time.sleep(600)
    return {}
