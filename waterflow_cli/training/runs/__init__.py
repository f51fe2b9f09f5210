"""What stays of a training: log, record, page, plots, reproduction.

It may import `training`, `registry` and below. Start at `log`.
"""
