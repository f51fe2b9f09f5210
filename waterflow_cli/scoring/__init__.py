"""A model and a file become a scored file that can be resumed, explained and replayed.

It may import `models`, `validation` and below. Start at `scorer`.
"""
