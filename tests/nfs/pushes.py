"""Pushes to `octo/site`, from an origin in this process: a commit costs no process, so that many can be made."""

import random
import time
from collections.abc import Mapping

from local.origin import EXECUTABLE, LINK, FileContent, SampleOrigin
from testing.answers import Answer
from testing.deliveries import NULL_OID, WebhookRequest, push_payload, webhook_request
from testing.repositories import Tree
from testing.service import Service

REPOSITORY, REF = "octo/site", "refs/heads/main"
Changes = Mapping[str, FileContent | bytes | None]
"""Paths with what they become: None is removed, with all below it; bytes are a plain file."""

_NAMES = "abcde"


def link(target: bytes) -> FileContent:
    """Return a symbolic link."""
    return FileContent(target, LINK)


def executable(content: bytes) -> FileContent:
    """Return a file of mode 100755."""
    return FileContent(content, EXECUTABLE)


class Pushes:
    """Commits to the origin's branch and delivers the pushes. `trees` holds what each commit must be read as."""

    def __init__(self, service: Service, origin: SampleOrigin) -> None:
        """Nothing is committed yet."""
        self.service = service
        self.origin = origin
        self.trees: dict[str, Tree] = {}
        self._files: dict[bytes, FileContent] = {}
        self._pushed: str = NULL_OID
        self._pushed_at = int(time.time()) - 10_000

    def configure(self, **fields: object) -> None:
        """Write the repository's parameter."""
        self.service.put_repository(REPOSITORY, url=self.origin.url, **fields)

    def commit(self, changes: Changes) -> str:
        """Commit changes on top of the branch; return the commit."""
        for path, entry in changes.items():
            put(self._files, path.encode(), FileContent(entry) if isinstance(entry, bytes) else entry)
        found = self.origin.commit(REF, self._files, f"Commit {len(self.trees)}")
        self.trees[found] = {path: (file.mode, file.content) for path, file in self._files.items()}
        return found

    def go_back(self, commit: str) -> None:
        """Move the branch to an older commit by force."""
        self.origin.set_ref(REF, commit)
        self._files = {path: FileContent(content, mode) for path, (mode, content) in self.trees[commit].items()}

    def request(self) -> WebhookRequest:
        """Return what GitHub sends for the branch as it stands."""
        before, self._pushed = self._pushed, self.origin.tip(REF) or NULL_OID
        self._pushed_at += 1
        payload = push_payload(REPOSITORY, REF, before, self._pushed, pushed_at=self._pushed_at)
        return webhook_request("push", payload, self.service.secret)

    def deliver(self) -> Answer:
        """Push the branch as it stands, to the service in this process; return the answer."""
        return self.service.send(self.request())

    def push(self, changes: Changes) -> str:
        """Commit, push, and return the commit, which is then published."""
        commit = self.commit(changes)
        answer = self.deliver()
        assert (answer.status, answer.content["commit"]) == (200, commit)
        return commit

    def random_changes(self, chance: random.Random) -> Changes:
        """Return a few changes of all kinds, deep and shallow."""
        paths = sorted(self._files)
        changes: dict[str, FileContent | bytes | None] = {}
        for _ in range(chance.randint(1, 4)):
            path = chance.choice(paths)
            content = b"%d" % chance.randrange(10**9)
            new = "/".join(chance.choices(_NAMES, k=chance.randint(1, 6)))
            directory = path.rpartition(b"/")[0] or path
            kinds: list[Changes] = [
                {path.decode(): content},
                {path.decode(): None},
                {path.decode(): link(content)},
                {path.decode(): executable(content)},
                {path.decode() + "/below": content},
                {directory.decode(): content},
                {directory.decode(): None},
                {new: content},
                {max(paths, key=lambda each: each.count(b"/")).decode(): content},
            ]
            changes |= chance.choice(kinds)
        changes[f"{_NAMES[0]}0/{_NAMES[1]}/{_NAMES[2]}/{chance.choice(_NAMES)}"] = b"%d" % chance.randrange(10**9)
        return changes


def put(files: dict[bytes, FileContent], path: bytes, entry: FileContent | None) -> None:
    """Put an entry into a tree, in the place of whatever is in its way."""
    parts = path.split(b"/")
    for depth in range(1, len(parts)):
        files.pop(b"/".join(parts[:depth]), None)
    for below in [each for each in files if each == path or each.startswith(path + b"/")]:
        del files[below]
    if entry is not None:
        files[path] = entry


def first_files() -> dict[str, FileContent | bytes | None]:
    """Return a tree with files in up to six directories, and a link."""
    files: dict[str, FileContent | bytes | None] = {"top": b"first", "link": link(b"top")}
    return files | {
        "/".join("abcdef"[:depth]) + f"/{name}": b"first" for depth in range(1, 7) for name in ("one", "two")
    }
