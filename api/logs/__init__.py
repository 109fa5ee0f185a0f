"""Logs: a log is a series of ADRs with numbers of its own, such as the decisions of one repository."""
