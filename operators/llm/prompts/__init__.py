"""Prompt templates: Jinja2 files with the fields that each gets, and how a user replaces them."""
