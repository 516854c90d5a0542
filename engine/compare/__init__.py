"""Comparisons of arms, with what each cost: studies over arms, their statistics, their pages."""
