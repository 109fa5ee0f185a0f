"""Jobs over HTTP: record one, look at it, cancel it. Doing them is the worker's (`streams/worker.py`)."""
