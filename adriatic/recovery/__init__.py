"""Recovery: topics and views made equal to the database, whatever became of either.

Owns the steps of `adriatic recover` (`steps.py`, pure), the row that they are written down in (`ledger.py`), what is
emptied (`emptying.py`), the machine (`machine.py`), and how the other processes hold meanwhile (`hold.py`). Refuses to
change anything that a user wrote. Read `machine.py` first.
"""
