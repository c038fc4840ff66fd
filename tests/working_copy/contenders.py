"""Those that pull: ours, through its front door; and git's own commands put together to do what ours has to do."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from testing.deliveries import push_payload, webhook_request
from testing.service import Service
from tests.working_copy.building import NO_ID, Place, git, try_git
from tests.working_copy.model import collisions
from tests.working_copy.state import path_of, status
from tests.working_copy.verdicts import CONFLICT, LOCAL_CHANGES, Pulled, Verdict, git_pull

Damage = Callable[[Path], None]


class Ours:
    """The product: a signed webhook for each pull, one service for all of them."""

    def __init__(self, service: Service, *, autostash: bool = False) -> None:
        """The service is started; each repository gets a parameter of its own."""
        self._service = service
        rule = {"ref": "refs/heads/main", "mode": "working-copy", "autostash": autostash}
        self._parameter: Mapping[str, Any] = {"publish": [rule], "allow_external_links": True}
        self._pushed: dict[str, str] = {}

    def place(self, name: str) -> Path:
        """Return where the product keeps the copy of a repository's main."""
        return self._service.mount / name / "main"

    def make(self, place: Place, depth: int | None) -> bool:
        """Let the product make the copy."""
        # As deep as any history of these tests, where it is to be whole.
        self._service.put_repository(place.name, **self._parameter, depth=1000 if depth is None else depth)
        made = self._deliver(place)
        assert made.ok, f"the working copy was not made: {made}"
        return True

    def pull(self, place: Place) -> Pulled:
        """Deliver a push; return how it ended."""
        if place.name not in self._pushed:
            self._service.put_repository(place.name, **self._parameter)
        return self._deliver(place)

    def _deliver(self, place: Place) -> Pulled:
        tip = (place.upstream / "refs/heads/main").read_text().strip()
        before = self._pushed.get(place.name, NO_ID)
        self._pushed[place.name] = tip
        payload = push_payload(place.name, "refs/heads/main", before, tip)
        self._service.clear()
        answer = self._service.send(webhook_request("push", payload, self._service.secret))
        said = [line for line in self._service.log_lines if line.get("path") == f"{place.name}/main"]
        detail = json.dumps([line.get("detail") for line in said])
        return Pulled(answer.outcome in ("published", "unchanged"), answer.reason or "", detail)


class GitPulls:
    """Git's commands, put together so that they do what ours has to: what is uncommitted stays, or is in the way.

    A wrong one is made of it by what is left out (`minds_untracked`, `minds_dirt`) or done afterwards (`damage`).
    """

    def __init__(
        self,
        root: Path,
        damage: Damage | None = None,
        *,
        minds_untracked: bool = True,
        minds_dirt: bool = True,
        options: tuple[str, ...] = (),
    ) -> None:
        """Copies are made below `root`; `options` are git's."""
        self.root, self.damage, self.options = root, damage, options
        self.minds_untracked, self.minds_dirt = minds_untracked, minds_dirt

    def place(self, name: str) -> Path:
        """Return where the copy of a repository is."""
        return self.root / name / "main"

    def make(self, place: Place, depth: int | None) -> bool:
        """Make a copy by `git clone`."""
        options = [] if depth is None else ["--depth", str(depth)]
        git(place.upstream, "clone", "-q", *options, place.url, place.copy)
        return True

    def pull(self, place: Place) -> Pulled:
        """Pull the committed elsewhere; where that went well and nothing is in its way, bring it here."""
        scratch = place.copy.with_name("scratch")
        shutil.copytree(place.copy, scratch, symlinks=True)
        try:
            git(scratch, "read-tree", "--reset", "-u", "HEAD")
            git(scratch, "clean", "-xfdq")
            if git_pull(scratch, *self.options) is not Verdict.PULLED:
                return Pulled(False, CONFLICT, "git found a conflict")
            return self._bring(scratch, place.copy)
        finally:
            shutil.rmtree(scratch)

    def _bring(self, scratch: Path, copy: Path) -> Pulled:
        old, new = (git(at, "rev-parse", "HEAD").decode().strip() for at in (copy, scratch))
        shutil.copytree(scratch / ".git/objects", copy / ".git/objects", dirs_exist_ok=True)
        differing = git(copy, "diff-tree", "-r", "--name-only", "--no-renames", "-z", old, new).split(b"\0")[:-1]
        uncommitted = [
            path_of(record) for record in status(copy) if self.minds_untracked or record[:1] not in (b"?", b"!")
        ]
        if blocking := list(collisions(uncommitted, differing)) if self.minds_dirt else []:
            return Pulled(False, LOCAL_CHANGES, repr(blocking))
        try_git(copy, "update-index", "-q", "--refresh")
        git(copy, "read-tree", "-u", *(("-m", old) if self.minds_untracked and self.minds_dirt else ("--reset",)), new)
        for name in ("refs", "logs"):
            shutil.copytree(scratch / ".git" / name, copy / ".git" / name, dirs_exist_ok=True)
        for name in ("FETCH_HEAD", "ORIG_HEAD", "shallow"):
            if (scratch / ".git" / name).exists():
                shutil.copy(scratch / ".git" / name, copy / ".git" / name)
        if self.damage:
            self.damage(copy)
        return Pulled(True)
