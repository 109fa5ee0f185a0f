"""Crawls over HTTP: ask for one, look at it and at what came of each address, cancel it. Doing it is the worker's
(`streams/crawling`)."""
