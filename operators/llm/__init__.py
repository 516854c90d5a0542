"""Operators that ask language models: ideation, implementation unit by unit, and the baselines.

`proposal` holds what travels between the stages.
"""
