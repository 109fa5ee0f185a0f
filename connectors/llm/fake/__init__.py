"""A provider to test with: a local HTTP server that speaks the dialects of OpenAI, Anthropic and Gemini by a script.

Owns what a real provider would do to its clients: answer, stall, break off, refuse, lie about usage, and charge.
Refuses to be one of the providers of `connectors.llm.build`: those are pointed at it by `llm.base_url`. Read next:
`requests` and `frames`, the dialects, and `scripts`, what it does, which are pure; `bills`, what it would charge;
`server`.
"""
