"""Links that may lead out of what is published: refused, kept or skipped, as the repository's parameter says."""

import json

import pytest

from handler.config.repository import parameter_of, parse_repository
from handler.errors import ConfigurationInvalid
from testing.repositories import Entry, Link, Upstream, archive
from testing.service import Service

TARGET = "octo/site/main"
FILES: dict[str, Entry | None] = {
    "a": b"1",
    "in/side": Link(b"../a"),
    "out/absolute": Link(b"/etc/passwd"),
    "out/far": Link(b"../../a"),
    "deep/er/out": Link(b"../../../x"),
    "deep/file": b"2",
}
LEFT = [b"a", b"deep/file", b"in/side"]


def test_skipped_links_are_left_out_and_noted(service: Service, upstream: Upstream) -> None:
    """So is a directory that has nothing else. An audit, and the next push, take the rest for what the commit has."""
    service.put_repository(external_links="skip", grace_seconds=0)
    commit = upstream.commit(FILES)
    assert service.push(upstream).outcome == "published"
    assert sorted(service.tree()) == LEFT
    assert service.current_commit() == commit
    assert not (service.current() / "out").exists()
    notes = service.log_lines[-1]["notes"]
    assert [note for note in notes if "left out" in note] == [
        f"{path!r} may lead out of what is published, and is left out"
        for path in (b"deep/er/out", b"out/absolute", b"out/far")
    ]
    (verified,) = service.operate("verify", TARGET)["targets"]
    assert (verified["reason"], verified.get("notes", [])) == ("verified", [])
    for number in range(3):
        upstream.commit({"deep/file": b"%d" % number})
        assert service.push(upstream).outcome == "published"
        assert sorted(service.tree()) == LEFT
        assert not any("left out" in note for note in service.log_lines[-1].get("notes", ())), "it is no news"
    upstream.commit({"a": Link(b"/etc/passwd"), "out/absolute": Link(b"../a"), "deep": Link(b"/")})
    assert service.push(upstream).outcome == "published"
    assert sorted(service.tree()) == [b"in/side", b"out/absolute"]


@pytest.mark.parametrize("order", [("keep", "skip", "keep"), ("skip", "keep", "skip")])
def test_a_changed_setting_publishes_the_same_commit_once_more(
    service: Service, upstream: Upstream, order: tuple[str, ...]
) -> None:
    """Whatever is recycled for it."""
    commit = upstream.commit(FILES)
    for number, setting in enumerate(order):
        service.put_repository(external_links=setting, grace_seconds=0)
        service.reset()
        found = service.run_schedule()["outcomes"]
        # To allow what was never refused changes nothing: `keep` is no filter.
        assert found == {"published:ref_moved_on": 1}, (number, setting, found)
        assert sorted(service.tree()) == (sorted(archive(upstream, commit)) if setting == "keep" else LEFT)
        (verified,) = service.operate("verify", TARGET)["targets"]
        assert verified["reason"] == "verified"


def test_what_the_parameter_says() -> None:
    """The old name is understood, alone; and it is what an older version of the publisher is sent."""
    keep, skip = '{"allow_external_links": true}', '{"external_links": "skip"}'
    for text, value in (("{}", "refuse"), (keep, "keep"), (skip, "skip")):
        repository = parse_repository("octo/site", text)
        assert repository.external_links == value
        assert parse_repository("octo/site", json.dumps(parameter_of(repository))) == repository
    assert parameter_of(parse_repository("octo/site", '{"external_links": "keep"}'))["allow_external_links"] is True
    copy: dict[str, object] = {
        "publish": [{"ref": "refs/heads/main", "mode": "working-copy"}],
        "external_links": "skip",
    }
    both: dict[str, object] = {"external_links": "keep", "allow_external_links": True}
    unknown: list[dict[str, object]] = [{"external_links": "drop"}, {"external_links": True}]
    for wrong in (*unknown, both, copy):
        with pytest.raises(ConfigurationInvalid, match="external_links"):
            parse_repository("octo/site", wrong)
