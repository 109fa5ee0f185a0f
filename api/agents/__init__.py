"""Agents: goals that are pursued in durable steps, and what they propose to write."""
