"""One question a file, one command each; figures go to RESULTS.md with machine, commit, command, median and spread."""
