"""Change capture: from Postgres' write-ahead log to records in Kafka, each exactly once.

Owns the walsender protocol, the order of records, what may be acknowledged, and the snapshot. Refuses business
decisions. Read next: `source.py`, then `stream.py`.
"""
