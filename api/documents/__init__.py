"""Uploaded documents over HTTP: take one, list them, read one, give the original back, delete one. Parsing is a job's
(`streams/documents.py`)."""
