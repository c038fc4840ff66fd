"""`make accept`: prove in a real account that a stack of this version does what it promises, and leave nothing there.

__main__        the command: what it asks, and how it ends
account         boto3's clients of one profile and region, and which operations were called
stacks          what is built → a stack of the run's own
leftovers       what runs made: finding it, and deleting it
sample          the sample origin's commits and its side of a fetch, made anew wherever they are needed
origin          where the commits come from: the sample, in the account; or a repository that is given
service         signed pushes, operators' commands, log lines
pushes  failures  watching     the steps, each a function of the run
run             the steps in their order, and what becomes of their ends
report          figures and results, as Markdown

Two modules run in the account: `origin_function` is the sample origin, and `stuck_publisher` a publisher that hangs in
the middle of a check-out. So nothing may be imported here.
"""
