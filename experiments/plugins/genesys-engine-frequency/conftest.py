"""Switches the fixtures of genesys-engine on: tiny_corpus, scripted_llm and more."""

pytest_plugins = ["genesys_engine.plugins.testing.fixtures"]
