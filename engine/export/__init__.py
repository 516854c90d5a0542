"""Export: a verified design as a model that transformers and lm-eval load without this engine.

May import `views` and what that may.
"""

from genesys_engine.engine.export.write import Exported, export

__all__ = ["Exported", "export"]
