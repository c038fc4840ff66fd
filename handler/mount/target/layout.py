"""Where things are on the mount. Pure: names only.

<mount>/<owner>/<name>/
    .lock                           held by the one run that works on the repository
    .copies/                        working copies that are being made
    mirror.git/
<mount>/<target path>/              <owner>/<name>/<branch> unless the repository's parameter says otherwise
    current -> releases/<commit>
    releases/<commit>/
    staging/
    published.json
<mount>/<target path>/              a working copy, where the parameter says so
    .git/
        git2efs/                    published.json, a journal, what is being written: ours alone
"""

import hashlib
import os
import re
from dataclasses import dataclass

CURRENT, RELEASES, STAGING, RECORD = "current", "releases", "staging", "published.json"

GIT = ".git"
COPY = ".git/git2efs"
"""What git2efs keeps of a working copy, out of the sight of `git status`."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_PASSING = re.compile(r"(?:link|record|repair|trash)-[0-9a-f]{16}")
_JOURNAL = ".journal"
_LINK = re.compile(r"releases/([0-9a-f]{40})")


@dataclass(frozen=True, slots=True)
class RepositoryPaths:
    """A repository's own places."""

    directory: str

    @classmethod
    def of(cls, mount: str, full_name: str) -> "RepositoryPaths":
        """`full_name` is `<owner>/<name>`, checked by whoever configured it."""
        return cls(os.path.join(mount, full_name))

    @property
    def lock(self) -> str:
        """The lock's file; it is made once and never removed."""
        return os.path.join(self.directory, ".lock")

    @property
    def targets(self) -> str:
        """The list of the repository's targets, one path a line."""
        return os.path.join(self.directory, ".targets")

    def new_copy(self, target_path: str) -> str:
        """Where a working copy is made until all of it is there; by the same name again, so that it is gone on with."""
        name = hashlib.sha1(target_path.encode(), usedforsecurity=False).hexdigest()[:16]
        return os.path.join(self.directory, ".copies", name)

    @property
    def mirror(self) -> str:
        """The bare repository."""
        return os.path.join(self.directory, "mirror.git")


@dataclass(frozen=True, slots=True)
class TargetPaths:
    """What lies in a target's directory. `is_copy`: it is a working copy, which has no releases."""

    directory: str
    is_copy: bool = False

    @property
    def current(self) -> str:
        """The link that consumers read."""
        return os.path.join(self.directory, CURRENT)

    @property
    def record(self) -> str:
        """`published.json`."""
        return os.path.join(self.directory, *([COPY] if self.is_copy else []), RECORD)

    @property
    def releases(self) -> str:
        """The directory of complete trees."""
        return os.path.join(self.directory, RELEASES)

    @property
    def staging(self) -> str:
        """The directory of what is being made."""
        return os.path.join(self.directory, COPY if self.is_copy else STAGING)

    def release(self, commit: str) -> str:
        """A commit's tree, complete."""
        return os.path.join(self.directory, RELEASES, commit)

    def staged(self, name: str) -> str:
        """Something in staging."""
        return os.path.join(self.staging, name)


def is_commit(name: str) -> bool:
    """Whether a name is a commit's id, as releases bear it."""
    return bool(_COMMIT.fullmatch(name))


def release_of(link: str) -> str | None:
    """Return the commit that the content of `current` names, None where it is not one of ours."""
    match = _LINK.fullmatch(link)
    return match[1] if match else None


def link_to(commit: str) -> str:
    """Return what `current` holds for a commit: a relative link, so that it leads the same way from every mount."""
    return f"{RELEASES}/{commit}"


def patch_name(base: str, wanted: str) -> str:
    """Name the staging of a tree: it holds `base`, `wanted`, or something on the way between the two.

    A tree that is written whole comes from the commit of forty zeros, which has no files.
    """
    return f"{base}-{wanted}"


def journal_name(base: str, wanted: str) -> str:
    """Name the journal of what `patch_name` names (see `PullJournal`)."""
    return patch_name(base, wanted) + _JOURNAL


def is_passing(name: str) -> bool:
    """Whether a name in staging is of something that only its own run needs."""
    return bool(_PASSING.fullmatch(name))


def is_staged(name: str) -> bool:
    """Whether a name in staging is one that git2efs gives: what a killed run left, and may be removed."""
    return is_passing(name) or read_patch_name(name.removesuffix(_JOURNAL)) is not None


def read_patch_name(name: str) -> tuple[str, str] | None:
    """Return (base, wanted) of a recycled release's staging, None for another name."""
    base, _, wanted = name.partition("-")
    return (base, wanted) if is_commit(base) and is_commit(wanted) else None
