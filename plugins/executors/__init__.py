"""Executors: where isolated jobs run."""
