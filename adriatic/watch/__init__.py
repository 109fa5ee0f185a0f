"""Judging how the pipeline is: lag, freshness, and the whole picture of them. Pure, and without a word about ADRs.

Owns the status words and what they mean. Refuses I/O and the clock: `adriatic/watch/watcher.py` looks, the API and the
command line show. Whatever is too old is unknown (law 5).
"""
