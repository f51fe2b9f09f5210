"""What every folder needs and nothing of water: errors, messages, JSON, progress, workers, pages.

It imports nothing of ours.
"""
