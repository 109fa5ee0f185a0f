"""Research: a question that takes several searches, and an answer in which each claim has a checked citation."""
