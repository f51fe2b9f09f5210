"""What is in a data set before any model: a report and a page.

It may import `training`, `validation` and below. Start at `report`.
"""
