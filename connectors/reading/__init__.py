"""The reader of decision records, in layers that know nothing of the next one.

Text (`runtime/decoding.py`: bytes become characters), structure (front matter, markup, blocks and what is inline:
characters become blocks), meaning (fields, status, sentences, dates, numbers, titles: blocks become what a record says
of itself). All of it is pure. What words mean is data: `words.toml`. `api/adrs/document.py` puts the answers together.
"""
