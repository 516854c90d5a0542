"""*Studies*: arms compared at equal cost, their statistics, their pages.

May import everything but `cli`.
"""
