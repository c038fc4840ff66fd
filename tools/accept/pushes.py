"""The steps that push: cold, warm, refused, many at once, back again."""

import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tools.accept.context import Context
from tools.accept.report import Figure, StepFailed, StepNotRun, milliseconds, spread
from tools.accept.sample import LARGE
from tools.accept.service import TRIES, Pushed

SITE = "accept/site"
CLOCK = "this machine's clock, from sending the webhook to its answer"
LOGGED = "the delivery's log line"
READ_ONLY = "nobody may push to the origin that was given: its refs do not move"


def publish(context: Context, full_name: str, *, tries: int = 1) -> tuple[str, Pushed]:
    """Push to a repository, and send the webhook; return the commit. Raises StepFailed unless it was published."""
    commit = context.push(full_name)
    pushed = context.service.push(full_name, context.origin.ref, commit, tries=tries)
    require_published(pushed, commit)
    return commit, pushed


def require_published(pushed: Pushed, commit: str) -> None:
    """Raise StepFailed unless `commit` is what readers have; the schedule may have come before the webhook."""
    found = (pushed.status, pushed.fields.get("outcome"), pushed.fields.get("commit"))
    if found not in ((200, "published", commit), (200, "unchanged", commit)):
        raise StepFailed(f"expected 200 published {commit[:12]}, and got {pushed.outcome} {found[2]}")


def inside(context: Context, pushed: Pushed, title: str) -> Iterator[Figure]:
    """Yield what the log line says of one push."""
    line = context.service.line_of(pushed.delivery)
    yield Figure(f"{title}: inside the function", f"{line['duration_ms']:,.0f} ms", LOGGED)
    for name, value in line.get("durations", {}).items():
        yield Figure(f"{title}: {name.removesuffix('_ms')}", f"{value:,.1f} ms", LOGGED)
    if (seconds := line.get("push_to_visible_seconds")) is not None:
        # Both ends are whole seconds of the payload's clock.
        yield Figure(
            f"{title}: push_to_visible_seconds", f"{seconds:,.2f} s", f"{LOGGED}; the push's time is in seconds"
        )


def cold(context: Context) -> Iterator[Figure]:
    """The first push of the stack's life: no function has run, and no directory is there."""
    context.configure(SITE)
    commit, pushed = publish(context, SITE, tries=TRIES)
    yield Figure("cold push to visible", milliseconds(pushed.seconds), CLOCK)
    yield Figure("requests until the new API answered", str(pushed.tries), "counted")
    yield Figure("files written", str(pushed.fields.get("files_written")), "the webhook's answer")
    yield from inside(context, pushed, "cold")
    found = context.service.target(SITE).get("commit")
    if found != commit:
        raise StepFailed(f"status says {found} instead of {commit}")


def warm(context: Context) -> Iterator[Figure]:
    """One file changes, and both functions are warm."""
    if not context.origin.takes_pushes:
        raise StepNotRun(READ_ONLY)
    pushes = [publish(context, SITE)[1] for _ in range(context.options.warm)]
    measured = [pushed for pushed in pushes if pushed.fields["outcome"] == "published"]
    if not measured:
        raise StepFailed("the schedule came before each webhook")
    yield Figure("warm push to visible, median", spread([pushed.seconds for pushed in measured]), CLOCK)
    yield from inside(context, measured[-1], "warm")


def large(context: Context) -> Iterator[Figure]:
    """The first push of a larger tree, while both functions are warm."""
    if not context.origin.takes_pushes:
        # `kill` needs a name whose first push is still to come.
        raise StepNotRun("the larger tree is the sample's")
    context.configure(LARGE)
    _, pushed = publish(context, LARGE)
    yield Figure("larger tree to visible", milliseconds(pushed.seconds), CLOCK)
    yield Figure("its files written", str(pushed.fields.get("files_written")), "the webhook's answer")
    yield from inside(context, pushed, "larger tree")


def refusals(context: Context) -> Iterator[Figure]:
    """A forged signature, and a repository that nobody configured."""
    ref, commit = context.origin.ref, context.push(SITE)
    forged = context.service.push(SITE, ref, commit, secret=secrets.token_hex(32))
    unknown = context.service.push("accept/nobody-configured-this", ref, commit)
    expected = {"forged": (forged, 401, "signature_invalid"), "unknown": (unknown, 404, "repository_unknown")}
    for title, (pushed, status, reason) in expected.items():
        if (pushed.status, pushed.fields.get("reason")) != (status, reason):
            raise StepFailed(f"{title}: expected {status} {reason}, and got {pushed.outcome}")
        yield Figure(f"{title} push", pushed.outcome, "the webhook's answer")
    if context.origin.takes_pushes and context.service.target(SITE)["commit"] == commit:
        raise StepFailed("the forged push was published")


def burst(context: Context) -> Iterator[Figure]:
    """Pushes to many repositories at once, several to each; every tip is published, and nothing fails."""
    options = context.options
    names = [f"accept/burst-{number:02}" for number in range(options.repositories)]
    for name in names:
        context.configure(name)
    tips = context.origin.push(names)
    work = [name for _ in range(options.pushes_each) for name in names]
    started = time.monotonic()
    with ThreadPoolExecutor(options.in_flight) as pool:
        pushes = list(pool.map(lambda name: context.service.push(name, context.origin.ref, tips[name]), work))
    seconds = time.monotonic() - started
    for name, pushed in zip(work, pushes, strict=True):
        require_published(pushed, tips[name])
    first = [pushed.seconds for pushed in pushes if pushed.fields["outcome"] == "published"]
    yield Figure(
        "pushes of the burst", f"{len(work)} to {len(names)} repositories, {options.in_flight} at a time", "counted"
    )
    yield Figure("all of them answered after", f"{seconds:,.1f} s", "this machine's clock")
    yield Figure("one of them to visible, median", spread(first), CLOCK)
    yield Figure("found done already", str(len(pushes) - len(first)), "the webhook's answers")


def rollback(context: Context) -> Iterator[Figure]:
    """Back to the previous release; a push meanwhile changes nothing; then forward again."""
    if not context.origin.takes_pushes:
        raise StepNotRun(READ_ONLY)
    service = context.service
    # Whatever came before, the target has two releases now, and the second is current.
    earlier, _ = publish(context, SITE)
    publish(context, SITE)
    started = time.monotonic()
    (answer,) = service.operate("rollback", path=SITE, by="accept", why="an acceptance run")["targets"]
    seconds = time.monotonic() - started
    if (answer["reason"], answer["commit"]) != ("rolled_back", earlier):
        raise StepFailed(f"rollback: {answer['outcome']} {answer['reason']} {answer['commit']}")
    yield Figure("rollback", milliseconds(seconds), "this machine's clock, from invoking the operator's function")
    latest = context.push(SITE)
    held = service.push(SITE, context.origin.ref, latest)
    if held.fields.get("reason") != "held" or service.target(SITE)["commit"] != earlier:
        raise StepFailed(f"a push to the held target ended with {held.outcome}")
    yield Figure("push to the held target", held.outcome, "the webhook's answer")
    started = time.monotonic()
    service.operate("resume", path=SITE)
    if service.target(SITE)["commit"] != latest:
        raise StepFailed("resume did not publish what the ref names")
    yield Figure("resume", milliseconds(time.monotonic() - started), "the same; with `status` after it")


def verify(context: Context) -> Iterator[Figure]:
    """Every file of every release is read on the file system, and compared with its commit."""
    answer = context.service.operate("verify")
    wrong = [each for each in answer["targets"] if each["outcome"] not in ("verified", "unchanged")]
    if answer["exit_code"] or wrong or not answer["targets"]:
        raise StepFailed(f"verify: {wrong or answer}")
    yield Figure("targets compared with their commits", str(len(answer["targets"])), "`verify`, in the account")
