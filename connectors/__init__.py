"""The edge to the outside: Postgres, Kafka, the registry, embedders, identity providers, git.

Owns every socket but those of the API's pool, and the mapping of each library's exceptions to `runtime/errors.py`.
Refuses to decide anything about ADRs. Read next: `connectors/capture/source.py` on the way in, and
`connectors/postgres/sink.py` on the way out.
"""
