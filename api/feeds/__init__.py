"""Feeds: documents of outside producers, their keys and their counts."""
