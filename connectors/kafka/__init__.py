"""The broker: the producer that change capture uses, and the source that flows read from."""
