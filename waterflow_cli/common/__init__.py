"""What every folder needs and nothing of water.

Errors, messages, JSON, numbers as people read them, progress, workers, pages and charts. It
imports nothing of ours.
"""
