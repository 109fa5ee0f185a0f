"""Rehearsals of what an operator must be able to rely on, on a scratch database that is gone afterwards."""
