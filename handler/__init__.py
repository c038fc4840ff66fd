"""git2efs: push to a branch on GitHub, and its files are on EFS seconds later.

The way of a push: `webhook` verifies and reads the delivery, looks up the repository's parameter, and hands the
push to `reconcile`, itself or by a queue and a `worker`; that takes the repository's lock, asks the remote what its
ref names, fetches the objects, checks the tree out into staging, and publishes it by renaming one link. `reconcile`
is idempotent: a push, a redelivery or a timer only say "look now". A target can be a git working copy instead, which
is brought forward as `git pull --rebase` does it: `working_copy`.

Imports point down, and a test holds them to it:

    webhook  worker  schedule       entry points, thin; and `operate`, an operator's command, with its `operations`
    deliver                         from a request to the targets that publish its ref
    reconcile  chores               the one operation, its neighbours come in as arguments; and what is done daily
    publish    working_copy         a run of one target: of releases, or of a git working copy
    github   git   efs   aws        what GitHub says, objects, the shared directory, AWS; never import each other
    model    errors    settings     frozen values, the one exception tree

One word for one thing: delivery (a webhook request), body (raw bytes, before verification), payload (decoded,
after), push event, ref (full name), commit (40-hex id), tip (what a ref names now), mirror (the bare repository on
the mount), target (a ref published to a path), staging, release, `current`, check out, publish, prune, outcome.
"""
