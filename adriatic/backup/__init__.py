"""Backups of the embedded stack: the database with its roles, the originals of uploads, the issuer's key, passwords.

Owns what a backup is (`manifest.py`), making one while the system runs (`making.py`), reading it back (`checking.py`),
and making a home of it (`restoring.py`). Refuses topics: they are made anew from the database by `adriatic recover`.
"""
