"""Architecture decision records: their texts, versions, tags and links.

`schemas` is what callers send and get, `service` the writes (imports use it too), `queries` the reads, `links`, `tags`
and `diff` what their names say, `document` what a text says of itself. `controller` and `history` are the HTTP of it.
"""
