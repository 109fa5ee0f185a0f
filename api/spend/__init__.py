"""Money: budgets of a tenant, and what an attempt may spend of them."""
