"""A refused push can be traced: which commit it was, all that is wrong with it, what would permit it, what it cost."""

import json
import os

import pytest

from testing.origin import GitOrigin
from testing.queue import MessageQueue
from testing.repositories import Link, Upstream
from testing.service import Service


def refuse_links(service: Service, upstream: Upstream, count: int) -> str:
    """Publish a commit, then push one with `count` links that lead out of the tree; return the refused commit."""
    upstream.commit({"a": b"1"})
    assert service.push(upstream).outcome == "published"
    links = {f"d/{number:03}": Link(b"/etc/passwd") for number in range(count)}
    return upstream.commit(links | {"large": os.urandom(50_000)})


def test_answer_and_log_name_the_refused_commit_and_every_link(service: Service, upstream: Upstream) -> None:
    """So many that the message stays short, how many more there are, and the setting that would permit them."""
    service.put_repository()
    refused = refuse_links(service, upstream, 71)
    answer, published = service.push(upstream), service.current_commit()
    line = service.log_lines[-1]
    assert (answer.status, answer.reason) == (500, "tree_unsafe")
    for told in (answer.content, line):
        assert (told["refused_commit"], told["commit"]) == (refused, published)
        assert all(f"'d/{number:03}'" in told["detail"] for number in range(20))
        assert "'d/020'" not in told["detail"]
        assert "and 51 more" in told["detail"]
        assert "external_links" in told["detail"]
    assert answer.content["bytes_fetched"] == line["counts"]["bytes_fetched"] > 50_000
    assert line["durations"]["fetch_ms"] > 0
    assert line["durations"]["checkout_ms"] > 0
    service.put_repository(external_links="keep")
    service.reset()
    assert service.push(upstream).content["commit"] == refused


def test_what_is_wrong_in_several_ways_is_told_in_one_answer(service: Service, upstream: Upstream) -> None:
    """One push can then mend all of it."""
    service.put_repository()
    files: dict[str, bytes | Link] = {"up": Link(b".."), "far": Link(b"x" * 4081), "n" * 256: b"1", "git~1": b"1"}
    refused = upstream.commit(files)
    answer = service.push(upstream)
    assert answer.content["refused_commit"] == refused
    assert answer.content["commit"] is None
    for words in ("'up'", "'far'", f"'{'n' * 200}'... (256 bytes)", "'git~1'", "255 bytes"):
        assert words in answer.content["detail"]


@pytest.mark.parametrize("setting", ["max_pack_bytes", "max_object_bytes", "max_tree_bytes"])
def test_what_is_too_large_is_told_with_the_setting_that_would_allow_it(
    service: Service, upstream: Upstream, setting: str
) -> None:
    """By the name that an operator sets."""
    service.put_repository()
    service.configure(**{setting: 9000})
    refused = upstream.commit({"large": os.urandom(10_000)})
    content = service.push(upstream).content
    assert content["refused_commit"] == refused
    name = "max_tree_bytes" if setting == "max_tree_bytes" else f"GIT2EFS_{setting.upper()}"
    assert name in content["detail"]
    assert content["bytes_fetched"] > 8000


def test_a_refused_commit_is_known_where_no_push_told_it(service: Service, upstream: Upstream) -> None:
    """The schedule asked the remote: it is what the ref names."""
    service.put_repository()
    refused = refuse_links(service, upstream, 1)
    service.run_schedule()
    (line,) = [each for each in service.log_lines if each.get("reason") == "tree_unsafe"]
    assert line["refused_commit"] == refused
    assert line["counts"]["bytes_fetched"] > 50_000


def test_a_push_of_which_nothing_was_seen_is_told_by_its_own_word(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """The remote is away, or the parameter is wrong: the pushed commit is what readers do not have."""
    service.put_repository()
    pushed = upstream.commit({"a": b"1"})
    origin.fail_next(99)
    assert service.push(upstream).content["refused_commit"] == pushed
    origin.clear_faults()
    service.put_repository_text("octo/site", "{")
    service.reset()
    assert service.push(upstream).content["refused_commit"] == pushed


def test_a_remotes_words_are_one_line_without_its_control_characters(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """Git's own server ends some of them with a NUL."""
    service.put_repository()
    service.configure(fetch_attempts=1)
    upstream.commit({"a": b"1"})
    line = b"ERR access\tdenied:\n  ask \x1b[1mmona\x1b[0m\n\0"
    headers = {"Content-Type": "application/x-git-upload-pack-result"}
    origin.answer_next(5, headers=headers, body=b"%04x%s0000" % (len(line) + 4, line))
    assert service.push(upstream).reason == "remote_unavailable"
    assert service.log_lines[-1]["detail"] == "the remote answered: access denied: ask [1mmona [0m"


def test_a_worker_tells_it_too(service: Service, upstream: Upstream, queue: MessageQueue) -> None:
    """Its log line and the dead letter are all that there is of it."""
    service.use_queue(queue)
    service.put_repository()
    refused = upstream.commit({"up": Link(b"..")})
    service.push(upstream)
    queue.deliver_all(service.work)
    (line,) = [each for each in service.log_lines if each.get("reason") == "tree_unsafe"]
    assert line["refused_commit"] == refused
    assert "'up'" in queue.dead_letters[0][1]["detail"]


def test_an_operator_is_told_it(service: Service, upstream: Upstream) -> None:
    """By the answer to `publish`."""
    service.put_repository()
    refused = refuse_links(service, upstream, 1)
    assert json.dumps({"refused_commit": refused})[1:-1] in json.dumps(service.operate("publish", "octo/site"))


def test_what_is_not_of_the_commit_is_for_the_operator_alone(service: Service, upstream: Upstream) -> None:
    """What stands at the target's path, for one, is none of the pusher's business."""
    service.put_repository()
    (service.mount / "octo/site/main").mkdir(parents=True)
    (service.mount / "octo/site/main/current").mkdir()
    refused = upstream.commit({"a": b"1"})
    content = service.push(upstream).content
    assert (content["reason"], content["refused_commit"]) == ("target_occupied", refused)
    assert "detail" not in content
    assert "refused_commit" not in service.ping().content


def test_a_published_push_says_nothing_of_a_refused_one(service: Service, upstream: Upstream) -> None:
    """The answer is as before."""
    service.put_repository()
    upstream.commit({"a": b"1"})
    assert "refused_commit" not in service.push(upstream).content
    assert "refused_commit" not in service.log_lines[-1]
