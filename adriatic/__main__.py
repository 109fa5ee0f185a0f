"""`python -m adriatic`: the same as the command `adriatic`, for processes that must not depend on a PATH."""

from adriatic.cli import main

main()
