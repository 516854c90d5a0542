"""Evaluators: they score a model."""
