"""The first page: one HTML document at `/`, with its styles, scripts and vendored libraries.

Owns the document, its assets and the headers that protect it. Refuses every other source of data: the browser asks the
public routes under `/v1` with the caller's token, as any web app would, so nothing in here opens a connection or knows
a tenant. Read next: `controller`, then `api/page/static/page.js`.
"""
