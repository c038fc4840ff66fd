"""The webhook secret is replaced while deliveries come: none is lost, and nobody else gets in."""

import time

import pytest

from testing.deliveries import WebhookRequest, ping_payload, webhook_request
from testing.service import Service

DAY = 86_400


def ping(secret: str) -> WebhookRequest:
    """Return a ping signed with this secret."""
    return webhook_request("ping", ping_payload("octo/site"), secret)


def secret_reads(service: Service) -> int:
    """Return how often the secret was read since the store was reset, its history left out."""
    return service.store.calls.count(("GetParameter", f"{service.prefix}/webhook-secret"))


def test_a_new_secret_verifies_at_once_through_one_fresh_read(service: Service) -> None:
    """A warm process that knows the old secret alone looks again when a signature does not match."""
    assert service.send(ping(service.secret)).status == 200
    service.rotate_secret("the new one")
    service.store.reset()
    for _ in range(5):
        assert service.send(ping("the new one")).status == 200
    assert secret_reads(service) == 1


@pytest.mark.parametrize("is_cold", [False, True])
def test_a_replaced_secret_verifies_until_its_overlap_ends(service: Service, is_cold: bool) -> None:
    """GitHub may go on signing with the old one while somebody changes it there: 24 hours by default."""
    old = service.rotate_secret("the new one", ago_seconds=DAY - 60)
    if not is_cold:
        assert service.send(ping("the new one")).status == 200
    assert service.send(ping(old)).status == 200
    assert service.send(ping("the new one")).status == 200


def test_a_replaced_secret_does_not_verify_after_its_overlap(service: Service) -> None:
    """What leaked and was replaced is worth nothing a day later; the new one goes on."""
    old = service.rotate_secret("the new one", ago_seconds=DAY + 60)
    assert service.send(ping(old)).status == 401
    assert service.send(ping("the new one")).status == 200


def test_without_an_overlap_a_replaced_secret_ends_at_once(service: Service) -> None:
    """A setting for those who rotate because it leaked."""
    service.configure(secret_overlap_seconds=0)
    old = service.rotate_secret("the new one")
    assert service.send(ping(old)).status == 401
    assert service.send(ping("the new one")).status == 200


def test_of_several_rotations_each_replaced_secret_has_its_own_overlap(service: Service) -> None:
    """The age of a value counts from its replacement, not from when it was written."""
    first = service.rotate_secret("second", ago_seconds=DAY + 60)
    service.rotate_secret("third")
    assert [service.send(ping(secret)).status for secret in (first, "second", "third")] == [401, 200, 200]


def test_a_secret_that_is_put_back_verifies(service: Service) -> None:
    """A rotation taken back, long after the value's first replacement."""
    old = service.rotate_secret("a mistake", ago_seconds=DAY + 60)
    service.rotate_secret(old)
    assert service.send(ping(old)).status == 200


def test_a_blank_version_in_the_history_opens_nothing(service: Service) -> None:
    """Somebody put a space by accident and mended it: the space does not verify for the next 24 hours."""
    service.rotate_secret(" ")
    service.rotate_secret("mended")
    assert service.send(ping(" ")).status == 401
    assert service.send(ping("mended")).status == 200


def test_a_flood_of_forged_requests_costs_one_read_of_the_secret(service: Service) -> None:
    """Nobody without the secret can wear out Parameter Store's quota, or turn a 401 into something else."""
    assert service.send(ping(service.secret)).status == 200
    service.store.reset()
    assert [service.send(ping(f"guess {number}")).status for number in range(40)] == [401] * 40
    assert secret_reads(service) == 1
    assert len(service.store.calls) <= 2


def test_malformed_signatures_cost_no_read_at_all(service: Service) -> None:
    """Only what could have been signed with a newer secret is worth looking for one."""
    assert service.send(ping(service.secret)).status == 200
    service.store.reset()
    for value in (None, "", "sha256=", "sha1=" + "0" * 40, "sha256=" + "G" * 64):
        assert service.send(ping("x").with_header("X-Hub-Signature-256", value)).status == 401
    assert service.store.calls == []


def test_after_a_flood_a_new_secret_verifies_within_the_refresh_time(service: Service) -> None:
    """The flood may use up the one fresh read, but only until the next."""
    service.configure(secret_refresh_seconds=1)
    assert service.send(ping("a guess")).status == 401
    started = time.monotonic()
    service.rotate_secret("the new one")
    while service.send(ping("the new one")).status == 401:
        assert time.monotonic() - started < 3
        time.sleep(0.05)
    assert time.monotonic() - started < 2


def test_parameter_store_being_down_does_not_turn_a_forged_request_into_a_failure(service: Service) -> None:
    """The fresh read is an attempt to be kind; without it the signature just does not match."""
    assert service.send(ping(service.secret)).status == 200
    service.store.is_down = True
    assert service.send(ping("a guess")).status == 401
    assert service.send(ping(service.secret)).status == 200


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("correct-horse-battery\n", "ends with a newline"),
        ("correct-horse-battery\r\n", "ends with a newline"),
        (" correct-horse-battery", "white space"),
        ('"correct-horse-battery"', "quotes"),
        ("'correct-horse-battery'\n", "quotes"),
    ],
)
def test_a_secret_stored_with_a_slip_is_diagnosed_without_being_shown(service: Service, stored: str, said: str) -> None:
    """GitHub signs with what the person meant; the log says once what is wrong with what is stored."""
    service.put_secret(stored)
    for _ in range(3):
        assert service.send(ping("correct-horse-battery")).status == 401
    warnings = [line["message"] for line in service.log_lines if line["level"] == "WARNING"]
    told = [message for message in warnings if said in message]
    assert len(told) == 1
    assert f"{service.prefix}/webhook-secret" in told[0]
    assert service.places_of("correct-horse") == []
    service.put_secret("correct-horse-battery")
    service.reset()
    assert service.send(ping("correct-horse-battery")).status == 200


def test_a_secret_that_is_no_secure_string_works_and_is_told(service: Service) -> None:
    """Readable without its key: worth a word, not worth losing deliveries."""
    service.store.delete(f"{service.prefix}/webhook-secret")
    service.store.put(f"{service.prefix}/webhook-secret", "plain")
    assert service.send(ping("plain")).status == 200
    assert any("SecureString" in str(line["message"]) for line in service.log_lines)


def test_a_deleted_secret_closes_the_door_for_every_value_it_had(service: Service) -> None:
    """Deleting is the way to end all of them at once: a cold start then knows none."""
    old = service.rotate_secret("the new one")
    service.store.delete(f"{service.prefix}/webhook-secret")
    service.reset()
    assert [service.send(ping(secret)).status for secret in (old, "the new one")] == [500, 500]
