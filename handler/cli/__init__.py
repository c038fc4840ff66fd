"""The `git2efs` command: an operator's command line, for a deployed stack, this host's mount, or `make serve`.

command_line   from arguments to output and exit code
parser         the actions with their options, and what each is for
stacks         which stack is asked, and how
served         `make serve` on this machine, by its socket
credentials    the token for a forge, from the environment or a prompt
terminal       progress on standard error, colours where they are wanted
completion     what a shell completes, made from the parser
"""

from handler.cli.command_line import main

__all__ = ["main"]
