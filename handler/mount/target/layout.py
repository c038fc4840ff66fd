"""Where things are on the mount. Pure: names only. Frozen: an upgrade has to find what an older version left.

<mount>/<owner>/<name>/
    .lock                           held by the one run that works on the repository
    .copies/                        working copies that are being made
    .incoming/<transfer>            large packs on their way
    .targets                        the paths of the repository's targets
    mirror.git/
<mount>/<target path>/              <owner>/<name>/<branch> unless the repository's parameter says otherwise
    current -> releases/<commit>
    releases/<commit>/
    releases/<commit>.<filter>/     where another filter than the target's usual one made it (see releases/filters.py)
    releases/.plain-<filter>        the filter that made what has no suffix; without such a file: all of the tree
    releases/.filter-<filter>       another filter
    staging/
    published.json
<mount>/<target path>/              a working copy, where the parameter says so
    .git/
        git2efs/                    published.json, a journal, what is being written: ours alone
"""

import hashlib
import os
import re
import secrets
from dataclasses import dataclass

from handler.config.names import OBJECT_ID, is_object_id
from handler.model import NULL_OID

CURRENT, RELEASES, STAGING, RECORD = "current", "releases", "staging", "published.json"

GIT = ".git"
COPY = ".git/git2efs"
"""Our own directory in a working copy; `git status` does not look there."""

# What only its own run needs has a random name: a fixed one, left by a killed run, would stop every later run.
_PASSING = re.compile(r"(?:link|record|repair|trash)-[0-9a-f]{16}")
_JOURNAL = ".journal"
SPARES_STATE = "spares.json"
"""A name in staging: how many spares the target's pushes needed lately."""
_FILTER_ID = "[0-9a-f]{16}"
_RELEASE = rf"{OBJECT_ID}(?:\.{_FILTER_ID})?"
_IS_RELEASE = re.compile(_RELEASE)
_PATCH = re.compile(rf"({_RELEASE})-({_RELEASE})(?:\.((?:[0-9a-f]{{16}}-){{2}}[0-9a-f]{{16}}))?")
_SPARE = re.compile(rf"({_RELEASE})-\1(?:\.[1-9][0-9]?)?")
# Only a link of this very form is ours. Somebody else's `current` is never replaced.
_LINK = re.compile(f"releases/({_RELEASE})")
_FILTER_FILE = re.compile(rf"\.(?:plain|filter)-{_FILTER_ID}")
_COMMIT_LENGTH = 40


@dataclass(frozen=True, slots=True)
class RepositoryPaths:
    """What lies in a repository's directory."""

    directory: str

    @classmethod
    def of(cls, mount: str, full_name: str) -> "RepositoryPaths":
        """Return the paths of `<owner>/<name>`, a name that was checked when it was configured."""
        return cls(os.path.join(mount, full_name))

    @property
    def lock(self) -> str:
        """The lock's file."""
        # Made once and never removed: a lock on a removed file excludes nobody.
        return os.path.join(self.directory, ".lock")

    @property
    def targets(self) -> str:
        """The registry of the repository's targets, one path a line."""
        # One file a repository: the mirror has to keep the objects of all its targets, wherever their paths are.
        return os.path.join(self.directory, ".targets")

    def new_copy(self, target_path: str) -> str:
        """Where a clone of a working copy is made until it is complete."""
        # The same name for the same target: after a kill the next run goes on with what it finds there.
        name = hashlib.sha1(target_path.encode(), usedforsecurity=False).hexdigest()[:16]
        return os.path.join(self.directory, ".copies", name)

    @property
    def incoming(self) -> str:
        """The directory of large packs on their way."""
        return os.path.join(self.directory, ".incoming")

    @property
    def mirror(self) -> str:
        """The bare repository."""
        return os.path.join(self.directory, "mirror.git")


@dataclass(frozen=True)
class TargetPaths:
    """What lies in a target's directory. `is_copy`: the target is a working copy, which has no releases."""

    root: str
    is_copy: bool = False

    @property
    def current(self) -> str:
        """The link that consumers read."""
        return os.path.join(self.root, CURRENT)

    @property
    def record(self) -> str:
        """`published.json`."""
        # Beside `current`, not in a release, which never changes; in a copy below .git, where git shows no change.
        return os.path.join(self.root, *([COPY] if self.is_copy else []), RECORD)

    @property
    def releases(self) -> str:
        """The directory of complete trees."""
        return os.path.join(self.root, RELEASES)

    @property
    def staging(self) -> str:
        """The directory of what is being made; readers do not look there."""
        # In the target's own directory: a rename within one file system is atomic, and costs the same for any tree.
        return os.path.join(self.root, COPY if self.is_copy else STAGING)

    def release(self, name: str) -> str:
        """A release's tree. It is complete as long as it bears this name."""
        return os.path.join(self.root, RELEASES, name)

    def staged(self, name: str) -> str:
        """A path in staging."""
        return os.path.join(self.staging, name)


def is_commit(name: str) -> bool:
    """Whether a name is a commit id, as copies that are being made are named."""
    return is_object_id(name)


def is_release(name: str) -> bool:
    """Whether a name is a release's: a commit id, or one with the id of a filter."""
    return _IS_RELEASE.fullmatch(name) is not None


def release_name(commit: str, filter_id: str | None) -> str:
    """Return the name of a release that the filter made; None: the target's usual one."""
    return commit if filter_id is None else f"{commit}.{filter_id}"


def commit_of(release: str) -> str:
    """Return the commit of a release's name."""
    return release[:_COMMIT_LENGTH]


def filter_id_of(release: str) -> str | None:
    """Return the id of the filter in a release's name; None: the target's usual one."""
    return release[_COMMIT_LENGTH + 1 :] or None


def is_filter_file(name: str) -> bool:
    """Whether a name among the releases is that of a file which says what a filter is."""
    return _FILTER_FILE.fullmatch(name) is not None


def release_of(link: str) -> str | None:
    """Return the release that the content of `current` names; None where git2efs did not make the link."""
    match = _LINK.fullmatch(link)
    return match[1] if match else None


def link_to(release: str) -> str:
    """Return the content of `current` for a release."""
    # Relative, so that it leads the same way from every mount point.
    return f"{RELEASES}/{release}"


def patch_name(base: str, wanted: str) -> str:
    """Return the name in staging of a tree that holds `base`, `wanted`, or a mix of both on the way between them.

    Both are releases' names, so that each says which filter made it. A tree that is written whole comes from the null
    id, which has no files.
    """
    return f"{base}-{wanted}"


def spare_name(release: str, number: int) -> str:
    """Return the name in staging of a spare: a complete tree as `release` is, and the `number`th of them, from 1.

    The first has the name of a tree on its way from the release to itself. So a version that knows no spares finds a
    tree that it can go on from.
    """
    # Nothing is on its way from a release to itself: half-made trees never have this name.
    return patch_name(release, release) + ("" if number == 1 else f".{number}")


def read_spare_name(name: str) -> str | None:
    """Return the release of a name by `spare_name`; None for another name."""
    found = _SPARE.fullmatch(name)
    return found[1] if found is not None else None


def work_name(base: str, wanted: str, token: str) -> str:
    """Return the name of such a tree while the holder that `token` names works on it (see `may_be_at_work`).

    No two runs have one name: so nothing that a run does by a name, when it wakes, meets another one's work.
    """
    return f"{base}-{wanted}.{token}"


def journal_name(name: str) -> str:
    """Return the name of the checkpoint of the tree that is staged as `name` (see `Checkpoint`)."""
    return name + _JOURNAL


def is_passing(name: str) -> bool:
    """Whether a name in staging belongs to something that only its own run needs."""
    return bool(_PASSING.fullmatch(name))


def releases_in(name: str) -> frozenset[str]:
    """Return the releases that the tree of a name in staging is like, or on its way between; none for another name."""
    patch = read_patch_name(name.removesuffix(_JOURNAL))
    found = patch[:2] if patch is not None else (read_spare_name(name),)
    return frozenset(each for each in found if each is not None and each != NULL_OID)


def trash_name() -> str:
    """Return a new name in staging for what is to be removed."""
    return f"trash-{secrets.token_hex(8)}"


def is_staged(name: str) -> bool:
    """Whether git2efs gives such names in staging: what a killed run left may be removed."""
    return is_passing(name) or is_spare(name) or read_patch_name(name.removesuffix(_JOURNAL)) is not None


def is_spare(name: str) -> bool:
    """Whether a name in staging stays between runs: a spare, or what is known about spares."""
    # What has another name in staging is a killed run's, or somebody else's.
    return name == SPARES_STATE or read_spare_name(name) is not None


def read_patch_name(name: str) -> tuple[str, str, str] | None:
    """Return the (base, wanted, token) of a name by `patch_name`, without a token, or by `work_name`; else None.

    Base and wanted are equal in the name of a spare, and of one that a run works on.
    """
    match = _PATCH.fullmatch(name)
    return (match[1], match[2], match[3] or "") if match else None
