"""`make bench-chat`: what a gateway adds to a model's answers. Ours, LiteLLM's proxy, the bare path and none at all are
measured in one run, by one load, against one upstream, all on this machine.

Owns nothing by itself: `upstream` answers as a model's server does, `load` asks and takes the time, `gateways` starts
and ends what is between them, `measures` says which figures are taken, and `__main__` prints them.
"""
