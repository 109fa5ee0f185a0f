"""The Model Context Protocol at `/mcp`: editors and other agents read a tenant's decision records, as whoever calls.

`tools` is what can be asked, `offer` how it is said in the protocol, `server` the SDK's server that `adriatic mcp` has
too, `endpoint` the way of one message through the SDK and its bounds, `controller` the HTTP of it.
"""
