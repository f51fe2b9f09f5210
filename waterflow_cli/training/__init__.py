"""Labelled data and a plugin become an evaluated model; there is no MLflow here.

It may import `models`, `validation` and below. Start at `trainer`.
"""
