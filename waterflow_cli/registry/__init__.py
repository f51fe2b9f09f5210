"""Everything that talks to MLflow: stores, versions, aliases, archives, history.

It may import `models` and below. Start at `location`.
"""
