"""The reference library: one Markdown card on a published architecture or trick per file."""
