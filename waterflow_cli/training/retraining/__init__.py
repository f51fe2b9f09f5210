"""A challenger from new rows, and whether it replaces the champion.

It may import `training.runs` and below. Start at `retrainer`.
"""
