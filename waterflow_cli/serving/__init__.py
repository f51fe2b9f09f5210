"""The scorer behind HTTP.

It may import `scoring`, `registry` and below. Start at `app`.
"""
