"""Data whose form the engine does not know: it belongs to a plugin, to TOML or to JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PluginOptions = Mapping[str, Any]
"""The options of a plugin's component, whose schema only the plugin knows."""
TomlTable = dict[str, Any]
"""A table of a TOML document: as a user wrote it, or as it would be written."""
JsonSchema = dict[str, Any]
"""A part of a JSON Schema."""
