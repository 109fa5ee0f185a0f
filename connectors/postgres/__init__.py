"""Postgres: change capture out of it, transactional writes into it, and setting it up."""
