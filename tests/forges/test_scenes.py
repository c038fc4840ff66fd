"""The same scenes for every forge, against a real git server: what a push leads to, and what opens nothing."""

import json
from dataclasses import replace
from typing import NamedTuple

import pytest

from testing.answers import Answer
from testing.deliveries import NULL_OID, WebhookRequest
from testing.origin import GitOrigin
from testing.queue import MessageQueue
from testing.repositories import Upstream, archive
from testing.service import Service
from tests.forges.senders import SENDERS, SIGNING_TOKEN, Change, Sender

MAIN, TAG = "refs/heads/main", "refs/tags/v1"
DAY = 86_400

every_forge = pytest.mark.parametrize("sender", SENDERS.values(), ids=SENDERS)


class World(NamedTuple):
    """A stack with one repository of the sender's forge."""

    service: Service
    upstream: Upstream
    sender: Sender

    @property
    def route(self) -> str:
        """The common URL's path."""
        return f"/{self.sender.forge}"

    @property
    def secret_name(self) -> str:
        """The parameter that holds the forge's secret."""
        name = "webhook-secret" if self.sender.forge == "github" else f"webhook-secrets/{self.sender.forge}"
        return f"{self.service.prefix}/{name}"

    def put_secret(self, value: str) -> None:
        """Write the forge's common secret."""
        self.service.store.put(self.secret_name, value, is_secure=True)

    def configure(self, **fields: object) -> None:
        """Write the repository's parameter."""
        assert self.service.origin is not None
        given = {"forge": str(self.sender.forge), "url": self.service.origin.url(self.upstream.full_name)}
        self.service.put_repository_text(self.sender.full_name, json.dumps(given | fields))

    def send(self, *requests: WebhookRequest, path: str | None = None) -> list[Answer]:
        """Deliver requests."""
        return [self.service.send(request, path=path or self.route) for request in requests]

    def push(self, *changes: Change, secret: str | None = None) -> list[Answer]:
        """Deliver what the forge sends for a push."""
        return self.send(*self.sender.push(*changes, secret=secret))

    def path(self, name: str) -> str:
        """Return a target's path."""
        return f"{self.sender.full_name}/{name}"


@pytest.fixture
def world(service: Service, upstream: Upstream, sender: Sender) -> World:
    """Return the stack, with the forge's secret, and a repository that publishes its branches and tags."""
    world = World(service, upstream, sender)
    if sender.forge != "github":
        service.store.put(f"{service.prefix}/webhook-secret", "that of GitHub", is_secure=True)
    world.put_secret(sender.secret)
    rules = [{"ref": "refs/heads/*", "path": world.path("*")}, {"ref": "refs/tags/*", "path": "tags/*"}]
    world.configure(publish=rules, grace_seconds=0)
    return world


@pytest.mark.sampled(3)
@every_forge
def test_a_push_and_a_forced_one_are_published(world: World) -> None:
    """A new branch, then a commit that does not follow it; in each the tree that git has."""
    first = world.upstream.commit({"a": b"1", "d/b": b"2"})
    assert [each.outcome for each in world.push(Change(MAIN, NULL_OID, first))] == ["published"]
    assert world.service.tree(world.path("main")) == archive(world.upstream, first)
    forced = world.upstream.commit({"c": b"3"}, replace=True)
    assert [each.outcome for each in world.push(Change(MAIN, first, forced))] == ["published"]
    assert world.service.tree(world.path("main")) == archive(world.upstream, forced)


@pytest.mark.sampled(3)
@every_forge
def test_several_refs_of_one_push_are_published(world: World) -> None:
    """In one delivery or in one for each: two branches and a tag."""
    commit = world.upstream.commit({"a": b"1"})
    world.upstream.point("refs/heads/next", commit)
    world.upstream.point(TAG, commit)
    refs = (MAIN, "refs/heads/next", TAG)
    answers = world.push(*(Change(ref, NULL_OID, commit) for ref in refs))
    assert {each.outcome for each in answers} == {"published"}
    for path in (world.path("main"), world.path("next"), "tags/v1"):
        assert world.service.current_commit(path) == commit


@pytest.mark.sampled(3)
@every_forge
def test_a_deleted_branch_and_a_deleted_tag_are_retired(world: World) -> None:
    """Each by the forge's own way to say so; nothing is left of what the patterns published."""
    commit = world.upstream.commit({"a": b"1"})
    world.upstream.point("refs/heads/old", commit)
    world.upstream.point(TAG, commit)
    world.push(Change("refs/heads/old", NULL_OID, commit), Change(TAG, NULL_OID, commit))
    world.upstream.delete("refs/heads/old")
    world.upstream.delete(TAG)
    answers = world.push(Change("refs/heads/old", commit, NULL_OID), Change(TAG, commit, NULL_OID))
    assert {each.outcome for each in answers} == {"retired"}


@pytest.mark.sampled(3)
@every_forge
def test_an_annotated_tag_is_published(world: World) -> None:
    """Whether the payload names the tag or its commit."""
    commit = world.upstream.commit({"a": b"1"})
    tag = world.upstream.tag("v1", commit)
    named = commit if world.sender.event_header == "X-Event-Key" and not world.sender.ping else tag
    assert [each.outcome for each in world.push(Change(TAG, NULL_OID, named))] == ["published"]
    assert world.service.current_commit("tags/v1") == commit


@pytest.mark.sampled(2)
@every_forge
def test_a_redelivery_changes_nothing_and_repairs(world: World) -> None:
    """The same bytes again: unchanged; and published where the first did not get through."""
    commit = world.upstream.commit({"a": b"1"})
    (request,) = world.sender.push(Change(MAIN, NULL_OID, commit))
    assert world.service.origin is not None
    world.service.origin.fail_next(6, kind="ls-refs")
    world.service.origin.fail_next(6, kind="fetch")
    assert world.send(request)[0].status == 503
    world.service.origin.clear_faults()
    assert [world.send(request)[0].outcome for _ in range(2)] == ["published", "unchanged"]


@every_forge
def test_a_ping_is_answered(world: World) -> None:
    """Where the forge has one; another event is ignored."""
    if world.sender.ping is not None:
        assert world.send(world.sender.request(*world.sender.ping))[0].reason == "pong"
    other = {"gitlab": "Issue Hook", "bitbucket": "repo:fork"}.get(world.sender.forge, "issues")
    (answer,) = world.send(world.sender.request(other, {}))
    assert (answer.status, answer.reason) == (200, "event_not_push")


@every_forge
def test_what_is_forged_opens_nothing(world: World) -> None:
    """Another secret, no signature, other bytes, another forge's route: 401, before anything of the body is read."""
    (request,) = world.sender.push(Change(MAIN, NULL_OID, "a" * 40))
    wrong = "whsec_AAAA" if world.sender.secret == SIGNING_TOKEN else "another"
    (forged,) = world.sender.push(Change(MAIN, NULL_OID, "a" * 40), secret=wrong)
    bare = request
    for name in world.sender.headers(b"", world.sender.secret):
        bare = bare.with_header(name, None)
    attempts = [forged, bare, *(bare.with_header(name, "") for name in world.sender.headers(b"", wrong))]
    if world.sender.headers(b"a", wrong) != world.sender.headers(b"b", wrong):  # a token vouches for no bytes
        attempts += [request.with_body(b"{"), request.with_body(request.body + b" ")]
    # Neither through the route of a forge that has no secret, nor of one that has another.
    for path in ("/github", "/gitlab", "/gitea", "/bitbucket"):
        sent = [request, *attempts] if path != world.route else attempts
        assert {(each.status, each.reason) for each in world.send(*sent, path=path)} == {(401, "signature_invalid")}
    assert not (world.service.mount / world.sender.full_name).exists()


@pytest.mark.parametrize("name", ["gitlab", "gitea", "bitbucket cloud"])
def test_a_forge_without_a_secret_is_closed(service: Service, name: str) -> None:
    """As to a wrong secret, and without a failure that rings; a flood costs one look. Once it is stored, it opens."""
    sender = SENDERS[name]
    (request,) = sender.push(Change(MAIN, "a" * 40, NULL_OID))
    service.store.reset()
    answers = [service.send(request, path=f"/{sender.forge}") for _ in range(30)]
    assert {(each.status, each.reason) for each in answers} == {(401, "signature_invalid")}
    assert service.store.counts() == {"GetParameter": 1}
    service.store.put(f"{service.prefix}/webhook-secrets/{sender.forge}", sender.secret, is_secure=True)
    service.reset()
    assert service.send(request, path=f"/{sender.forge}").reason == "repository_unknown"


def test_forged_requests_for_many_names_do_not_close_a_forge(service: Service) -> None:
    """Its secret is read though strangers have used up the look-ups of repositories' own."""
    sender = SENDERS["gitea"]
    service.store.put(f"{service.prefix}/webhook-secrets/gitea", sender.secret, is_secure=True)
    (request,) = sender.push(Change(MAIN, "a" * 40, NULL_OID))
    answers = [service.send(request, path=f"/gitea/octo/n{number}") for number in range(40)]
    assert {each.status for each in answers} == {401, 503}
    assert service.send(request, path="/gitea").reason == "repository_unknown"


def test_a_signing_token_does_not_open_as_a_secret_token(service: Service, upstream: Upstream) -> None:
    """It never travels, so whoever sends it has it from somewhere else; and the other way round."""
    world = World(service, upstream, SENDERS["gitlab"])
    world.put_secret(SIGNING_TOKEN)
    (request,) = world.sender.push(Change(MAIN, NULL_OID, "a" * 40), secret=SIGNING_TOKEN)
    assert world.send(request)[0].status == 401


@pytest.mark.sampled(3)
@every_forge
def test_an_old_secret_verifies_during_a_rotation(world: World) -> None:
    """For a day, beside the new one; then no more."""
    new = "whsec_bmV3" if world.sender.secret == SIGNING_TOKEN else "the new one"
    change = Change("refs/heads/gone", "a" * 40, NULL_OID)
    assert {each.status for each in world.push(change)} == {200}
    world.put_secret(new)
    assert {each.status for secret in (new, None) for each in world.push(change, secret=secret)} == {200}
    world.service.store.age(world.secret_name, DAY + 60)
    world.service.reset()
    assert [world.push(change, secret=secret)[0].status for secret in (new, None)] == [200, 401]


def test_gitlabs_token_is_replaced_by_a_signing_token_without_downtime(service: Service, upstream: Upstream) -> None:
    """A warm process notices the secret of the other kind by itself; and back again."""
    world = World(service, upstream, SENDERS["gitlab"])
    signing = World(service, upstream, SENDERS["gitlab, signing"])
    change = Change(MAIN, "a" * 40, NULL_OID)
    world.put_secret(world.sender.secret)
    assert world.push(change)[0].status == 200
    world.put_secret(SIGNING_TOKEN)
    assert [each.push(change)[0].status for each in (signing, world)] == [200, 200]
    world.put_secret("a third one")
    service.reset()
    assert [each.push(change)[0].status for each in (signing, world)] == [200, 200]
    assert world.push(change, secret="a third one")[0].status == 200


@every_forge
def test_an_unknown_repository_is_refused(world: World) -> None:
    """404; but 200 where the forge would switch a webhook off that serves other repositories too."""
    for name in ("octo/nobody", "Octo/other"):
        (request,) = world.sender.push(Change(MAIN, NULL_OID, "a" * 40), full_name=name)
        (answer,) = world.send(request)
        assert (answer.status, answer.reason) == (world.sender.unknown_status, "repository_unknown")


@every_forge
def test_another_forge_cannot_push_for_it(world: World) -> None:
    """Its secret verifies, and the repository is not of it: as one that is unknown."""
    other = "gitlab" if world.sender.forge != "gitlab" else "gitea"
    world.configure(forge=other)
    (answer,) = world.push(Change(MAIN, NULL_OID, "a" * 40))
    assert (answer.status, answer.reason) == (world.sender.unknown_status, "repository_unknown")
    assert not (world.service.mount / world.sender.full_name).exists()


@pytest.mark.sampled(3)
@every_forge
def test_its_own_url_and_secret_work_alike(world: World) -> None:
    """With `own_secret` the common URL is closed, and its own serves nobody else."""
    name = world.sender.full_name
    own = "whsec_b3du" if world.sender.secret == SIGNING_TOKEN else "its own"
    world.configure(own_secret=True)
    world.service.put_own_secret(name, own)
    commit = world.upstream.commit({"a": b"1"})
    change = Change(MAIN, NULL_OID, commit)
    assert world.push(change)[0].reason == "signature_invalid"
    (request,) = world.sender.push(change, secret=own)
    path = f"{world.route}/{name}"
    assert world.send(request, path=path)[0].outcome == "published"
    (other,) = world.sender.push(change, secret=own, full_name="octo/other")
    assert world.send(other, path=path)[0].reason == "repository_unknown"


@pytest.mark.sampled(2)
@every_forge
def test_each_ref_becomes_a_message_of_the_queue(world: World, queue: MessageQueue) -> None:
    """And is published by the worker."""
    world.service.use_queue(queue)
    commit = world.upstream.commit({"a": b"1"})
    world.upstream.point("refs/heads/next", commit)
    answers = world.push(Change(MAIN, NULL_OID, commit), Change("refs/heads/next", NULL_OID, commit))
    assert {(each.status, each.reason) for each in answers} == {(202, "queued")}
    queue.deliver_all(world.service.work)
    for branch in ("main", "next"):
        assert world.service.current_commit(world.path(branch)) == commit


def test_a_project_in_nested_groups_is_published_under_joined_names(service: Service, origin: GitOrigin) -> None:
    """Which is the project that its url leads to, and no other that has the same name here."""
    upstream = Upstream(origin.root, "group/sub/site")
    world = World(service, upstream, replace(SENDERS["gitlab"], full_name="group.sub/site"))
    world.put_secret(world.sender.secret)
    commit = upstream.commit({"a": b"1"})
    change = Change(MAIN, NULL_OID, commit)
    (nested,) = world.sender.push(change, full_name="group/sub/site")
    (other,) = world.sender.push(change, full_name="group.sub/site")
    world.configure()
    assert world.send(other)[0].reason == "repository_unknown"
    assert "the url of group.sub/site does not lead to group.sub/site" in service.text
    assert world.send(nested)[0].outcome == "published"
    assert service.tree("group.sub/site/main") == archive(upstream, commit)
