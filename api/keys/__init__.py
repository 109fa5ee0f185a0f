"""A tenant's API keys: made, shown without their secrets, rotated and revoked."""
