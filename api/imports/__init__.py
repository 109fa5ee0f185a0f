"""Bringing histories in: changes of files become versions of ADRs.

`schemas` is what travels over HTTP, `plan` decides (pure), `store` reads and writes, `links` resolves references
(pure), `service` puts them together in one transaction a batch, `freshness` tells how long it took until a search
showed it.
"""
