"""The HTTP API: Litestar, by domain.

`app` puts it together, `server` serves it, `edge` is what is true of every request, `db` the only way to Postgres. Owns
what callers see. Refuses to produce to Kafka and to compute views: what it writes to Postgres enters Kafka through the
WAL (law 1), and views are kept by the dataflows.
"""
