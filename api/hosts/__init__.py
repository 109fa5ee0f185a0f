"""Hosts that a tenant lets its crawls and the tools of its agents reach."""
