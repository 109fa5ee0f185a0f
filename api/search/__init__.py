"""Search: by words, by meaning, and both.

`query` reads what a person typed, `embedding` turns it into a vector without holding anything up, `service` runs it
in the tenant's transaction, `controller` is `/v1/search`. Ranking is in `schemas/sql/0010_search_functions.sql`.
"""
