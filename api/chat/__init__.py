"""Questions about a tenant's ADRs, answered as a stream with citations that are checked."""
