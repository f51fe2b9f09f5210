"""The Spark engine; pyspark is imported where a session is opened, and nowhere before."""
