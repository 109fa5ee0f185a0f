"""Which provider answers: models as data, and what protects providers and callers from each other.

Owns nothing itself; the parts are `routes` (models and their targets), `breaker` (who is not asked for a while),
`slots` (who waits for whom), `retries` (how many may be asked again), and `router`, which puts them together. All of
them decide by `Failure.kind`, never by a text. Refuses prompts' words, money, and the events of an answer.
"""
