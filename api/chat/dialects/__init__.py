"""What other clients speak: the protocols of OpenAI, of Anthropic and of the AI SDK, one module each.

Owns nothing itself. An encoder is pure: it is fed every event of an answer from the first, in order, and makes bytes.
What a caller asks becomes a prompt in the `_requests` module beside it.
"""
