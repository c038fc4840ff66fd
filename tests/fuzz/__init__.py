"""Coverage-guided fuzzing of whatever reads what others wrote: `make fuzz SECONDS=600`. Its targets are tests, too.

targets                        what is fuzzed: each a function of bytes that raises only for a defect
__main__                       the runner, over atheris
"""
