"""What somebody else did to the mount is repaired by the next delivery, or named where a person must do it."""

import os
import shutil

from testing.repositories import Upstream, archive
from testing.service import Service

TARGET = "octo/site/main"


def test_a_removed_release_is_made_again_by_a_redelivery(service: Service, upstream: Upstream) -> None:
    """`current` led nowhere; what is published is looked at before anything is called unchanged."""
    service.put_repository()
    commit = upstream.commit({"a": b"1"})
    request = service.push_request(upstream)
    assert service.send(request).outcome == "published"
    shutil.rmtree(service.mount / TARGET / "releases" / commit)
    assert service.send(request).outcome == "published"
    assert service.tree() == archive(upstream, commit)
    assert service.send(request).outcome == "unchanged"


def test_without_the_staging_directory_a_flip_makes_it(service: Service, upstream: Upstream) -> None:
    """A forced push back writes nothing but the link and the record."""
    service.put_repository()
    first = upstream.commit({"a": b"1"})
    service.push(upstream)
    upstream.commit({"a": b"2"})
    service.push(upstream)
    os.rmdir(service.mount / TARGET / "staging")
    upstream.point("refs/heads/main", first)
    assert service.push(upstream).outcome == "published"
    assert service.tree() == archive(upstream, first)


def test_a_file_in_the_way_needs_a_person(service: Service, upstream: Upstream) -> None:
    """Trying again would change nothing, and so the answer is not 503."""
    service.put_repository()
    (service.mount / "octo").write_bytes(b"a file where a directory should be")
    upstream.commit({"a": b"1"})
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (500, "target_occupied")
    os.unlink(service.mount / "octo")
    assert service.push(upstream).outcome == "published"


def test_a_record_that_is_a_directory_needs_a_person(service: Service, upstream: Upstream) -> None:
    """It is named in the log; what is published stays."""
    service.put_repository()
    first = upstream.commit({"a": b"1"})
    service.push(upstream)
    os.unlink(service.mount / TARGET / "published.json")
    (service.mount / TARGET / "published.json").mkdir()
    upstream.commit({"a": b"2"})
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (500, "target_occupied")
    assert service.tree() == archive(upstream, first)
