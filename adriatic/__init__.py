"""The application: the command line, the stack on one machine, the supervisor, and the judgement behind `status`.

Owns how the rooms are put together; it imports all of them, and none of them imports it. Refuses domain logic: what an
ADR is, and what is done to one, is decided below.
"""
