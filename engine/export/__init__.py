"""Export: a verified design as a model that transformers and lm-eval load without this engine."""

from genesys_engine.engine.export.write import Exported, export

__all__ = ["Exported", "export"]
