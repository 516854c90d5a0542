"""What a check by hand may be asked for; apart, since the command line reads it at its start."""

WIDTHS, LAYERS, CONTEXTS = (16, 2048), (1, 16), (16, 8192)
"""The smallest and the largest `d_model`, `layers` and `context` of a check."""
WIDTH_STEP = 16
"""Of which `d_model` is a multiple."""
