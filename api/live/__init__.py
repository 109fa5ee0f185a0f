"""Live reads: a view's rows, and then each change of them, as server-sent events.

`views` says which views there are, `join` (pure) how a snapshot and the log fit together and what a resume token holds,
`ring` (pure) keeps the newest records of a partition, `hub` reads each partition once for all readers of the process,
`reader` is one stream, `rows` what a row looks like. Read first: docs/decisions/0021-live-reads.md.
"""
