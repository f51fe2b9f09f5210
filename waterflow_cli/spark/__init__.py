"""Validation and scoring on a cluster, with the same bits as on one machine.

It may import `registry`, `scoring`, `validation` and below. Start at `engine`; pyspark is
imported where a session is opened, and nowhere before.
"""
