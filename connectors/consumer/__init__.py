"""The one consumer core: from a record of a topic to a transaction, whoever drives it."""
