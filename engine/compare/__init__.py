"""*Studies*: comparisons of arms at equal cost, with their statistics and pages.

May import everything but `cli`.
"""
