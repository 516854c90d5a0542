"""Comparisons at equal cost: studies over arms, their statistics, their pages."""
