"""A repository's own webhook secret: its URL chooses it, and speaks for nobody else."""

import pytest

from handler.network.aws.secrets import UNVERIFIED_AT_ONCE
from testing.deliveries import EVENT_SHAPES, WebhookRequest, ping_payload, push_payload, webhook_request
from testing.repositories import Upstream, archive
from testing.service import Service

OWN = "a secret of octo/site's own"
URL = "/github/octo/site"
DAY = 86_400


def ping(secret: str, full_name: str = "octo/site") -> WebhookRequest:
    """Return a ping about a repository, signed with this secret."""
    return webhook_request("ping", ping_payload(full_name), secret)


def push(secret: str, full_name: str = "octo/site") -> WebhookRequest:
    """Return a push that no rule publishes."""
    return webhook_request("push", push_payload(full_name, "refs/heads/never", "a" * 40, "b" * 40), secret)


@pytest.fixture
def own(service: Service) -> Service:
    """Return the service with `octo/site`, which has its own secret, and `octo/other`, which has none."""
    rules = [{"ref": "refs/heads/main"}]
    service.put_own_secret("octo/site", OWN)
    service.put_repository("octo/site", own_secret=True, publish=rules)
    service.put_repository("octo/other", publish=rules)
    return service


@pytest.mark.parametrize("shape", EVENT_SHAPES)
def test_a_push_through_the_repositorys_own_url_is_published(own: Service, upstream: Upstream, shape: str) -> None:
    """In each shape that an event can have; a stage's name may stand before the path."""
    for number, path in enumerate((URL, f"/prod{URL}")):
        commit = upstream.commit({"a": b"%d" % number})
        answer = own.send(own.push_request(upstream, secret=OWN), shape, path=path)
        assert (answer.status, answer.outcome) == (200, "published")
        assert own.tree() == archive(upstream, commit)


def test_the_common_secret_cannot_push_for_it(own: Service, upstream: Upstream) -> None:
    """Neither through the common URL nor through its own: the answer is that of a wrong signature."""
    upstream.commit({"a": b"a"})
    wrong = own.send(ping("a wrong secret"))
    for request, path in ((own.push_request(upstream), "/github"), (own.push_request(upstream), URL)):
        answer = own.send(request, path=path)
        assert (answer.status, answer.reason) == (wrong.status, wrong.reason) == (401, "signature_invalid")
        assert set(answer.content) == set(wrong.content)
    assert not own.current().exists()


def test_its_own_secret_opens_only_its_own_url(own: Service) -> None:
    """Not the common one, and not another repository's, whether that has a secret or not."""
    own.put_own_secret("octo/third", "the third's")
    assert own.send(ping(OWN), path=URL).reason == "pong"
    for path in ("/github", "/", "/github/octo/other", "/github/octo/third", "/github/octo/nobody"):
        assert own.send(push(OWN), path=path).reason == "signature_invalid"


@pytest.mark.parametrize("other", ["octo/other", "octo/nobody", "octo/sit", "octocat/site"])
def test_its_own_secret_cannot_speak_for_another(own: Service, other: str) -> None:
    """A payload about another repository is refused as one about a repository that is not there, known or not."""
    for request in (push(OWN, other), ping(OWN, other)):
        answer = own.send(request, path=URL)
        assert (answer.status, answer.reason) == (404, "repository_unknown")


def test_letter_case_does_not_make_another_repository(own: Service) -> None:
    """GitHub takes Octo/Site for octo/site; who set the webhook up may have typed either."""
    own.put_own_secret("Octo/SITE", OWN)
    assert own.send(push(OWN), path="/github/Octo/SITE").reason == "ref_not_published"


def test_a_repository_without_the_flag_is_served_through_both_urls(own: Service) -> None:
    """So that a webhook can be moved from one to the other, and the flag set when it is."""
    own.put_own_secret("octo/other", "the other's")
    assert own.send(push("the other's", "octo/other"), path="/github/octo/other").reason == "ref_not_published"
    assert own.send(push(own.secret, "octo/other")).reason == "ref_not_published"


def test_a_name_in_the_url_that_is_none_is_refused_without_a_call(own: Service) -> None:
    """It must not lead to another parameter."""
    own.store.reset()
    for path in ("/github/../..", "/github/octo/..", "/github/octo/site:1", "/github/octo/%2e%2e", "/github/é/site"):
        assert own.send(ping(OWN), path=path).reason == "signature_invalid"
    assert own.store.calls == []


def test_it_is_rotated_as_the_common_one_is(own: Service) -> None:
    """The replaced value verifies for a day; a warm process notices the new one by itself."""
    assert own.send(ping(OWN), path=URL).status == 200
    own.put_own_secret("octo/site", "the new one")
    assert [own.send(ping(secret), path=URL).status for secret in ("the new one", OWN, "a guess")] == [200, 200, 401]
    own.store.age(f"{own.prefix}/webhook-secrets/octo/site", DAY + 60)
    own.reset()
    assert [own.send(ping(secret), path=URL).status for secret in ("the new one", OWN)] == [200, 401]


def test_forged_requests_for_one_name_cost_few_calls(own: Service) -> None:
    """Known or not: what was found out is remembered."""
    own.store.reset()
    for number in range(30):
        assert own.send(ping(f"guess {number}"), path="/github/octo/nobody").status == 401
        assert own.send(ping(f"guess {number}"), path=URL).status == 401
    assert own.store.counts() == {"GetParameter": 3}


def test_forged_requests_for_many_names_are_bounded(own: Service) -> None:
    """Beyond the bound, 503 without a call; a secret that was known before goes on, and so does the common URL."""
    assert own.send(ping(OWN), path=URL).status == 200
    own.store.reset()
    answers = [own.send(ping("x"), path=f"/github/octo/n{number}") for number in range(4 * UNVERIFIED_AT_ONCE)]
    assert {(answer.status, answer.reason) for answer in answers} == {
        (401, "signature_invalid"),
        (503, "parameters_unavailable"),
    }
    assert len(own.store.calls) < 2 * UNVERIFIED_AT_ONCE
    assert own.send(ping(OWN), path=URL).status == 200
    assert own.send(ping(own.secret)).status == 200


def test_genuine_requests_for_many_repositories_are_not_bounded(own: Service) -> None:
    """A cold start's first deliveries: what turns out to be signed was no stranger's look-up."""
    for number in range(3 * UNVERIFIED_AT_ONCE):
        own.put_own_secret(f"octo/n{number}", f"secret {number}")
    for number in range(3 * UNVERIFIED_AT_ONCE):
        request = ping(f"secret {number}", f"octo/n{number}")
        assert own.send(request, path=f"/github/octo/n{number}").reason == "pong"


def test_an_own_secret_is_nowhere(own: Service, upstream: Upstream) -> None:
    """Not in logs, answers or on the mount, with a good signature, a bad one, and a slip in storing it."""
    upstream.commit({"a": b"a"})
    own.send(own.push_request(upstream, secret=OWN), path=URL)
    own.put_own_secret("octo/site", f"{OWN}\n")
    own.reset()
    assert own.send(ping(f"{OWN}?"), path=URL).status == 401
    assert any("webhook-secrets/octo/site ends with a newline" in str(line["message"]) for line in own.log_lines)
    assert own.places_of(OWN) == []
