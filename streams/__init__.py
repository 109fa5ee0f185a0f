"""Faust agents: jobs that wait on the world, such as fetching, parsing and asking a model.

Owns no job yet. Refuses to maintain tables that are a function of a topic: those are dataflows.
"""
