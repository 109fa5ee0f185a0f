"""Who is calling, and for which tenant.

`issuer` signs tokens on machines without an identity provider, `keys` holds the public keys that tokens are checked
with, `tokens` checks one, `middleware` puts the result on the request. Nothing in here reads a tenant's data.
"""
