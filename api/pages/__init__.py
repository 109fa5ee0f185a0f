"""Crawled pages over HTTP: read one, delete one. Crawls keep them (`streams/crawling`)."""
