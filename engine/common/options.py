"""Data whose form the engine does not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PluginOptions = Mapping[str, Any]
"""The options of a plugin's component, whose schema only the plugin knows."""
