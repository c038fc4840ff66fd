"""Compare git2efs with the tools that people use instead: `python -m benchmarks --help`, or `make bench`."""
