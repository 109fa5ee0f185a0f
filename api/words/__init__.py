"""A tenant's own words of status, fields and links: what its records say and no language has."""
