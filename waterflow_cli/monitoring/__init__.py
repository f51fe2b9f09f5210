"""Whether new data, predictions and labels still look like the training's.

It may import `registry`, `models`, `validation` and below. Start at `monitor`.
"""
