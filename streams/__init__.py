"""Faust agents, and the workers of jobs: what waits on the world and outlives a request.

Owns how an agent reads a topic (`agent`) and how jobs are done (`worker`). Refuses to maintain tables that are a
function of a topic: those are dataflows. What a kind of job does is elsewhere; the contract is
`connectors/postgres/jobs.py`.
"""
