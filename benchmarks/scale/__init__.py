"""A capacity model: a trace of pushes, played through a simulation of the stack, into docs/scale.md."""
