"""Tenants, from the platform's side."""
