"""git2efs: push to a branch on GitHub, and seconds later its files are on EFS.

The way of a push: `webhook` verifies the delivery's signature, reads it, looks up the repository's parameter, and hands
the push to `network.deliver`, at once or through an SQS queue and a `worker`. For each target that publishes the ref,
`network.driver` asks the remote what the ref names, fetches the objects, and hands both to the `publisher`. There
`mount.reconcile` takes the repository's lock, checks the tree out into staging, and publishes it by renaming one link.
It is idempotent: a push, a redelivery, a queue message, a timer and an operator all only say "look now". A target can
be a git working copy instead, which is brought forward as `git pull --rebase` does it.

There are two sides. The network side has the internet, AWS's APIs and the secrets, and no mount. The mount side has the
mount, and no network. Neither imports the other: they are two functions, and one invokes the other; or an entry point
brings them together in one process. Imports point down, and a test holds them to it:

    webhook worker schedule operate   entry points of the network side, thin
    cli/                              the `git2efs` command: for a deployed stack, a mount, or `make serve`
    publisher                         entry point of the mount side, where it is a function
    runtime                           what the entry points share: one app a process, made at the first request
    network/                          the network side
        receive                       a webhook's delivery → verified → delivered, or queued for a worker
        deliver trigger               a trigger → its targets → their outcomes
        driver driven_run guess       one target: guess, ask, fetch, let the mount side publish, fulfil what it needs
        pack_sender                   a large pack, sent in parts while it is fetched
        app_tokens app_jwt            a GitHub App's key → a token for one repository
        schedule resync survey        the schedule's two tasks; one pass over all repositories; many in one call
        pace                          how often the schedule asks which repository
        forges/                       what forges say: signatures, deliveries, payloads; commit statuses; webhooks
        remote/                       git's protocol, over smart HTTP and over SSH
        aws/                          API Gateway, SSM, Secrets Manager, EventBridge, CloudWatch; the publisher function
        queue/                        SQS: messages, batches, visibility; the worker
        operations/                   an operator's commands, the doctor's AWS half, a repository's setup
    mount/                            the mount side
        publisher                     all that the network side may ask, in this process
        reconcile                     the one operation, as one function
        operations/ maintenance/      an operator's commands on the mount; daily maintenance, audits, drift
        releases/ working_copy/       the two modes of publishing; they never import each other
        target/                       one target's directory: layout, record, registry, hold, events
        git/                          objects, packs, trees and their differences, the mirror
        log                           log lines of the mount side as a function
        fs/                           POSIX on a slow, shared, hostile mount; knows no git and no target
    exchange/                         what passes between the two sides, as values and as JSON; pure
    config/                           what is published where; pure
    model errors settings             frozen values, the tree of failures, the environment
    outcome deadline                  failures as outcomes and answers; when a run has to have stopped

One word for one thing: delivery (a webhook request), body (raw bytes, before verification), payload (decoded, after),
push event, ref (full name), commit (40-hex id), tip (what a ref names now), mirror (the bare repository on the mount),
target (a ref published to a path), release, staging, `current`, check out, publish, recycle, prune, grace, outcome,
drift.
"""
