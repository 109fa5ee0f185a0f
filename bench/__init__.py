"""Measurements of the running system, and of parts of it. Owns figures; refuses to judge: no figure fails a build."""
