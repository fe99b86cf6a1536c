"""The command line: one file a command group. Data on stdout, the rest on stderr.

Exit codes: 0 fine, 1 finding (lint, test, difference, rejection), 2 usage or bad input, 3 broker or file unavailable.
"""
