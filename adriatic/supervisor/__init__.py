"""The supervisor: runs the parts of the system on one machine, keeps them running, and says how they are.

Owns processes: starting in order and in parallel, health, restart with back-off, stopping in order, logs. Refuses to
know what a part is for: parts are data, made by `adriatic.stack.system`. Start reading at `part.py`, then
`supervisor.py`.
"""
