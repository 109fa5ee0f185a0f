"""Topics as code: one TOML file each. The files are the contract, the broker is made to agree.

Owns names, partitions, keys, retention and owners. Refuses any behaviour. Read next: `catalog`, `plan`.
"""
