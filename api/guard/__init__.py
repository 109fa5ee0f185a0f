"""The guard: which decisions speak of a change, and which it cites though they do not hold any more.

`change` reads a diff or a text, `service` asks the tenant's records, `schemas` is what callers send and get,
`controller` the HTTP of it.
"""
