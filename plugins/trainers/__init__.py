"""Trainers: they turn an untrained model into a checkpoint."""
