"""Each forge's signatures and payloads alone: what is documented is read, and nothing hostile is more than refused."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.config.names import is_full_name, ref_problem
from handler.errors import Malformed, Rejected, SecretUnusable, SignatureInvalid
from handler.model import Delivery, Forge, PushEvent
from handler.network.forges import bitbucket, gitea, gitlab, receiver_of
from testing.deliveries import JSON, NULL_OID
from testing.selection import count
from tests.forges.senders import SENDERS, SIGNING_TOKEN, Change, fixture

A, B = "a" * 40, "b" * 40
BODY = b'{"a": 1}'


def read(forge: Forge, event: str, payload: Any) -> tuple[str | None, tuple[PushEvent, ...]]:
    """Return what a delivery says was pushed."""
    body = json.dumps(payload).encode()
    return receiver_of(forge).read_pushed(Delivery(id="", event=event, media_type=JSON, body=body, forge=forge))


# -- signatures --------------------------------------------------------------------------------------------------------


def test_atlassians_documented_vector_verifies() -> None:
    """That of "Manage webhooks": the secret, the payload, and what Bitbucket makes of them."""
    secret, payload = b"It's a Secret to Everybody", b"Hello World!"
    header = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
    bitbucket.verify_signature(payload, {"x-hub-signature": header}, (secret,))
    for other in (header.replace("sha256", "sha1"), header.upper(), header[7:], f"{header},{header}"):
        with pytest.raises(SignatureInvalid):
            bitbucket.verify_signature(payload, {"x-hub-signature": other}, (secret,))


def test_the_documented_vector_of_standard_webhooks_verifies() -> None:
    """That of its specification: the key, the id, the time, the payload, and the signature."""
    secret = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    body = b'{"test": 2432232314}'
    gitlab.verify_signature(body, headers, (secret,))
    several = headers | {"webhook-signature": f"v1a,xx v1,AAAA {headers['webhook-signature']}"}
    gitlab.verify_signature(body, several, (b"old", secret))
    for name, text in (("webhook-id", "msg_x"), ("webhook-timestamp", "1614265331"), ("webhook-signature", "v1,AAAA")):
        with pytest.raises(SignatureInvalid):
            gitlab.verify_signature(body, headers | {name: text}, (secret,))
    for missing in headers:
        with pytest.raises(SignatureInvalid):
            gitlab.verify_signature(body, {name: headers[name] for name in headers if name != missing}, (secret,))


@pytest.mark.parametrize("token", ["", "secre", "secret ", "secret,secret", "SECRET", "grüße", "\ud800"])
def test_gitlabs_token_is_the_secret_and_nothing_else(token: str) -> None:
    """Not a piece of it, nor text that is no ASCII, nor half of a character."""
    gitlab.verify_signature(BODY, {"x-gitlab-token": "secret"}, (b"old", b"secret"))
    with pytest.raises(SignatureInvalid):
        gitlab.verify_signature(BODY, {"x-gitlab-token": token}, (b"old", b"secret"))


@pytest.mark.parametrize("secret", [b"whsec_", b"whsec_%%%", b"whsec_ab"])
def test_a_signing_token_that_is_none_is_told(secret: bytes) -> None:
    """It would be an empty key, or another one than GitLab's."""
    with pytest.raises(SecretUnusable):
        gitlab.verify_signature(BODY, {"x-gitlab-token": secret.decode()}, (secret,))


@pytest.mark.parametrize("forge", Forge)
@pytest.mark.parametrize("secrets", [(), (b"",), (b"x", b" \n")])
def test_without_a_secret_nothing_verifies(forge: Forge, secrets: Sequence[bytes]) -> None:
    """Fail closed, whatever the headers say: an HMAC with an empty key is anybody's."""
    with pytest.raises(SecretUnusable):
        receiver_of(forge).verify_signature(BODY, {"x-gitlab-token": "", "x-gitea-signature": ""}, secrets)


def test_giteas_empty_header_is_no_signature() -> None:
    """A webhook without a secret sends the header all the same; nor does GitHub's header count here."""
    for headers in ({"x-gitea-signature": ""}, {"x-hub-signature-256": "sha256=" + "0" * 64}, {}):
        with pytest.raises(SignatureInvalid):
            gitea.verify_signature(BODY, headers, (b"secret",))


# -- payloads ----------------------------------------------------------------------------------------------------------


def test_gitlabs_documented_push_is_read() -> None:
    """Its commit's time, in the zone that it has."""
    path, found = read(Forge.GITLAB, "Push Hook", fixture("gitlab-push"))
    assert path == "octo/site"
    assert found == (
        PushEvent(
            repository="octo/site",
            ref="refs/heads/main",
            before="95790bf891e76fee5e1747ab589903a6a1f80f22",
            after="da1560886d4f094c3e6c9ef40349f7d38b5d27d7",
            committed_at=1_750_000_000,
            default_branch_ref="refs/heads/main",
        ),
    )


def test_giteas_documented_payloads_are_read() -> None:
    """A push; and a deleted branch, which is named by its short name."""
    _, (push,) = read(Forge.GITEA, "push", fixture("gitea-push"))
    assert (push.ref, push.committed_at, push.is_deleted) == ("refs/heads/main", 1_750_000_000, False)
    _, (deleted,) = read(Forge.GITEA, "delete", fixture("gitea-delete"))
    assert (deleted.ref, deleted.is_deleted) == ("refs/heads/main", True)
    _, (tag,) = read(Forge.GITEA, "delete", fixture("gitea-delete") | {"ref": "v1", "ref_type": "tag"})
    assert tag.ref == "refs/tags/v1"


def test_bitbuckets_documented_pushes_are_read() -> None:
    """Cloud's, which adds one commit; Data Center's, which says when it was pushed."""
    _, (cloud,) = read(Forge.BITBUCKET, "repo:push", fixture("bitbucket-cloud-push"))
    assert (cloud.is_single, cloud.committed_at, cloud.pushed_at) == (True, 1_750_000_000, None)
    _, (data_center,) = read(Forge.BITBUCKET, "repo:refs_changed", fixture("bitbucket-data-center-push"))
    assert (data_center.repository, data_center.pushed_at) == ("OCTO/site", 1_750_000_000)


@pytest.mark.parametrize(
    ("forge", "path", "full_name"),
    [
        ("gitlab", "group/sub/site", "group.sub/site"),
        ("gitlab", "a/b/c/d", "a.b.c/d"),
        ("bitbucket data center", "~ADA/site", "ADA/site"),
    ],
)
def test_a_name_that_is_no_owner_and_name_is_made_one(forge: str, path: str, full_name: str) -> None:
    """The forge's own is kept beside it, to be compared with the url."""
    sender = SENDERS[forge]
    ((event, payload),) = sender.payloads(path, [Change("refs/heads/main", A, B)])
    found, (push,) = read(sender.forge, event, payload)
    assert (found, push.repository) == (path, full_name)


def test_a_change_of_neither_branch_nor_tag_is_left_out() -> None:
    """Bitbucket once had Mercurial's."""
    ((event, payload),) = SENDERS["bitbucket cloud"].payloads("octo/site", [Change("refs/heads/main", A, B)] * 2)
    payload["push"]["changes"][0]["new"]["type"] = "bookmark"
    assert len(read(Forge.BITBUCKET, event, payload)[1]) == 1


def test_more_refs_than_the_bound_are_refused() -> None:
    """Before any is worked on."""
    for name in ("bitbucket cloud", "bitbucket data center"):
        changes = [Change("refs/heads/main", A, B)] * (bitbucket.MAX_CHANGES + 1)
        ((event, payload),) = SENDERS[name].payloads("octo/site", changes)
        with pytest.raises(Malformed, match="more than 100 refs"):
            read(Forge.BITBUCKET, event, payload)


@pytest.mark.parametrize("ref", ["refs/heads/../x", "main", "refs/heads/a b", "refs/heads/\ud800"])
@pytest.mark.parametrize("name", SENDERS)
def test_a_ref_that_can_be_none_is_refused(name: str, ref: str) -> None:
    """Whoever has the secret may claim anything."""
    sender = SENDERS[name]
    for event, payload in sender.payloads("octo/site", [Change("refs/heads/main", A, B)]):
        text = json.dumps(payload).replace('"refs/heads/main"', json.dumps(ref))
        if name == "bitbucket cloud":
            text = text.replace('"name": "main"', '"name": "a b"')
        with pytest.raises(Malformed):
            read(sender.forge, event, json.loads(text))


def test_a_delivery_is_told_by_its_id() -> None:
    """The one that stays when it is sent again; what is no id stays out of log lines."""
    headers = {"x-gitlab-event": "Push Hook", "idempotency-key": "a-1", "x-gitlab-event-uuid": "b-2"}
    assert gitlab.read_delivery(headers, b"").id == "a-1"
    cloud = {"x-event-key": "repo:push", "x-request-uuid": "{c-3}"}
    assert bitbucket.read_delivery(cloud, b"").id == "c-3"
    assert gitea.read_delivery({"x-gitea-event": "push", "x-gitea-delivery": "a b\n"}, b"").id == ""


@pytest.mark.parametrize("forge", Forge)
@pytest.mark.parametrize("event", [None, "", "Push\n", "<b>", "x" * 200, "Push Hook,Push Hook"])
def test_a_header_without_an_events_name_is_refused(forge: Forge, event: str | None) -> None:
    """Missing, sent twice, or what is none."""
    names = ("x-github-event", "x-gitlab-event", "x-gitea-event", "x-event-key")
    with pytest.raises(Malformed):
        receiver_of(forge).read_delivery({} if event is None else dict.fromkeys(names, event), b"")


# -- hostile -----------------------------------------------------------------------------------------------------------

_leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([A, NULL_OID])
anything = st.recursive(
    _leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
events = [
    *((Forge.GITLAB, event) for event in sorted(gitlab.PUSH_EVENTS)),
    *((Forge.GITEA, event) for event in sorted(gitea.PUSH_EVENTS)),
    *((Forge.BITBUCKET, event) for event in sorted(bitbucket.PUSH_EVENTS)),
]
hostile_headers = st.dictionaries(
    st.sampled_from(
        [
            "x-gitlab-token",
            "webhook-signature",
            "webhook-id",
            "webhook-timestamp",
            "x-gitea-signature",
            "x-hub-signature",
            "x-hub-signature-256",
        ]
    ),
    st.text(max_size=80) | st.sampled_from(["v1,AAAA", "sha256=" + "0" * 64, "0" * 64]),
)
_SEEDS = {
    (sender.forge, event): payload
    for sender in SENDERS.values()
    for change in (Change("refs/heads/main", A, B), Change("refs/tags/v1", A, B), Change("refs/heads/x", A, NULL_OID))
    for event, payload in sender.payloads("octo/site", [change])
}


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in _places(each, (*path, key)))]


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = _replaced(value[path[0]], path[1:], new)
    return copied


@pytest.mark.parametrize(("forge", "event"), events, ids=[event for _, event in events])
@settings(max_examples=count(400, 25))
@given(data=st.data())
def test_a_hostile_payload_is_a_push_or_our_refusal(forge: Forge, event: str, data: st.DataObject) -> None:
    """A documented payload in which anything stands in some place: signed, and so anything may be claimed."""
    payload = _SEEDS[forge, event]
    place = data.draw(st.sampled_from(_places(payload)))
    try:
        _, found = read(forge, event, _replaced(payload, place, data.draw(anything)))
    except Rejected:
        return
    assert all(is_full_name(each.repository) and not ref_problem(each.ref) for each in found)


@pytest.mark.parametrize("forge", Forge)
@settings(max_examples=count(400, 25))
@given(headers=hostile_headers, body=st.binary(max_size=40))
def test_hostile_headers_never_verify(forge: Forge, headers: dict[str, str], body: bytes) -> None:
    """And raise nothing but our refusal."""
    with pytest.raises(SignatureInvalid):
        receiver_of(forge).verify_signature(body, headers, (b"a secret that nobody draws", SIGNING_TOKEN.encode()))
