"""What is suggested of decisions, and what people answer.

`schemas` is what callers get, `service` the reads and the answers, `controller` the HTTP of it. What is suggested is
kept by the flow `related` (`mv.suggestions`); this package refuses to suggest anything itself.
"""
