"""Export: a verified design as a model that others load without this engine.

`export` writes one for transformers and lm-eval, `export_onnx` a graph.

May import `views` and what that may.
"""

from genesys_engine.engine.export.onnx import ExportedGraph, export_onnx
from genesys_engine.engine.export.write import Exported, export

__all__ = ["Exported", "ExportedGraph", "export", "export_onnx"]
