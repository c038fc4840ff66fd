"""What an operator can ask for: to see every target, publish now, go back and stay there, compare, find what is wrong.

Each action takes a `Command` and returns plain content for JSON, with the exit code among it; `operate` is its door.
"""
