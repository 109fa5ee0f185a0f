"""The runtime that every part of Adriatic stands on: settings, errors, clock, logs, metrics, and the supervisor.

Owns what is true of every process. Refuses domain logic: nothing in here knows what an ADR is. The command line
(`adriatic.cli`) is the one exception to "nothing below imports anything above": it is the composition root, where the
rooms are wired together.
"""

__version__ = "0.1.0"
