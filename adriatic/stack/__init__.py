"""The embedded stack: Postgres, Kafka and a schema registry on this machine, without Docker and without Java installed.

Owns fetching them, configuring them, and the record of what was decided once (ports, passwords). Refuses to run them:
it hands out parts, as data, and `adriatic.supervisor` runs those. Start reading at `system.py`.
"""
