"""What a model is: plugins, threshold, calibration, guarantees, metrics, the stored files.

It may import `samples` and below, and not `validation`. Start at `decision` and `files`.
"""
