"""Which rows break which rule, and which values exceed which limit, in one pass over a file.

It may import `samples` and below. Start at `row_checker`.
"""
