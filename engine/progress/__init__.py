"""Live progress of a run, from its events alone: a panel on a terminal, plain lines elsewhere."""

from genesys_engine.engine.progress.live import Progress

__all__ = ["Progress"]
