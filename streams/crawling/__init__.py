"""Crawls: a job that asks for pages of a site, one at a time and politely, and keeps what changed.

`job` is the job, step by step; `frontier` has the rows of what is to be asked for, `turns` those of whose turn it is at
a host, `page_store` those of pages; `asking` does what waits on the world; `rules` decides without any of it. Refuses
to fetch (`connectors/fetching`) and to read what came (`connectors/parsers`).
"""
