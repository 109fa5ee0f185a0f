"""`/v1/spaces`: the embedding spaces of a tenant, which is built, which is searched, and how well each finds."""
