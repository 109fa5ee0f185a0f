"""The ground floor: settings, errors, clock, deadline, lifecycle, health, logs, metrics, telemetry, ids.

Owns what is true of every process, whatever it is for. Refuses to know what runs on it: this room imports none of ours.
"""

__version__ = "0.1.0"
