"""Texts and suggestions for ADRs that a model makes: drafts, which nobody but a person makes into an ADR."""
