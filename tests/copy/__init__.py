<<<<<<< HEAD
"""The working-copy mode against real git: random histories, pulled by `git pull --rebase` and by ours."""
=======
"""The working-copy mode, held to real git."""
>>>>>>> main
