"""What happened in a tenant, how much it has, and who was active."""
