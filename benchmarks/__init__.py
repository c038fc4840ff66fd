"""Measures git2efs against what people use instead: `python -m benchmarks --help`, or `make bench`."""
