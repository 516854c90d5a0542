"""Is the Hugging Face hub there?  Asked once and shortly, before its client tries for minutes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

SECONDS = 8.0  # of one question, the look-up of the name included


def unreachable() -> str:
    """Return why the hub does not answer, or "" where it does.

    It is the hub of `HF_ENDPOINT`, through the proxies that its client uses.  Where the user has
    asked for no network (`HF_HUB_OFFLINE`), nothing is asked.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return ""
    found = [f"{constants.ENDPOINT} did not answer within {SECONDS:.0f} s"]
    # A look-up of a name knows no time-out, so it is left behind in a thread that ends by itself.
    asking = Thread(target=lambda: found.append(_asked(constants.ENDPOINT)), daemon=True)
    asking.start()
    asking.join(SECONDS)
    return found[-1]


def _asked(endpoint: str) -> str:
    from huggingface_hub import get_session

    try:
        status = get_session().head(endpoint, timeout=SECONDS).status_code
    except Exception as error:  # whatever the client of this version raises
        return f"{endpoint}: {error}"
    return f"{endpoint} answers with status {status}" if status >= 500 else ""


def has_cached_data() -> bool:
    """Tell whether data sets of the hub were brought to this machine before."""
    from datasets import config

    folder = Path(config.HF_DATASETS_CACHE)
    return folder.is_dir() and any(folder.iterdir())


@contextmanager
def offline() -> Iterator[None]:
    """Make the hub's libraries use their caches, and fail at once for everything else."""
    from datasets import config
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE = before
