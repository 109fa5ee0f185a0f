"""Bytewax flows that keep tables: each is a function of a topic.

Owns `mv.*`. Refuses HTTP, calls of language models, and state outside of Postgres. Read next: `flow` (what a flow is),
`index` (one), `runner` (what drives it).
"""
