"""`python -m benchmarks.peers NAME...` is the self-check."""

import sys

from .check import main

sys.exit(main(sys.argv[1:]))
