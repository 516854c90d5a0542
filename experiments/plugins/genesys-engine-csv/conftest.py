"""Switches the fixtures of genesys-engine on: tiny_corpus, small_model, run_folder."""

pytest_plugins = ["genesys_engine.plugins.testing.fixtures"]
