"""Operators that ask language models: ideation, implementation unit by unit, and the baselines.

`proposal` holds the records that pass between the stages.
"""
