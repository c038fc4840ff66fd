"""The values that both sides share. All frozen, but for `BoundedMapping`; no I/O, no clock.

Commits are 40 lower-case hex digits as text; refs are full names (`refs/heads/main`); times are seconds since the
epoch, UTC.
"""

import hashlib
import json
from dataclasses import dataclass, field
from enum import StrEnum

NULL_OID = "0" * 40
"""What GitHub writes for `before` of a created and `after` of a deleted ref."""


MAX_AHEAD_SECONDS = 300
"""How far GitHub's clock may be ahead of ours; a `pushed_at` beyond counts as absent. AWS refuses worse clocks too."""


class OutcomeKind(StrEnum):
    """How a delivery ended for a target; a metric's dimension, and `outcome` in the answer."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    RETIRED = "retired"
    ACCEPTED = "accepted"
    """Queued: a worker reconciles the target later, and records that outcome."""
    IGNORED = "ignored"
    REJECTED = "rejected"
    FAILED = "failed"


class Forge(StrEnum):
    """Whose webhook announces a repository's pushes, and whose API takes its statuses; also a route's name."""

    GITHUB = "github"
    """github.com, and GitHub Enterprise Server."""
    GITLAB = "gitlab"
    GITEA = "gitea"
    """Forgejo too."""
    BITBUCKET = "bitbucket"
    """Bitbucket Cloud, and Data Center."""

    @property
    def label(self) -> str:
        """The name that it gives itself."""
        return {"github": "GitHub", "gitlab": "GitLab", "gitea": "Gitea", "bitbucket": "Bitbucket"}[self]


class ExternalLinks(StrEnum):
    """What becomes of symbolic links that may lead out of what is published: `external_links` of a repository."""

    REFUSE = "refuse"
    KEEP = "keep"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One verified webhook request: what its headers say, and the bytes that were signed."""

    id: str
    event: str
    media_type: str
    body: bytes
    forge: Forge = Forge.GITHUB
    """Whose route it came to."""
    url_repository: str | None = None
    """The `<owner>/<name>` in its URL, whose own secret signed it; None at the common URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushEvent:
    """What a push payload claims. A hint: the remote's ref is the truth.

    `pushed_at` is GitHub's clock in whole seconds, None where the payload has none; `committed_at` is the head
    commit's own time. `is_single` says that the push adds one commit, `after`, to `before`. `default_branch_ref` was
    the repository's default branch at that time; None where the payload does not say.
    """

    repository: str
    ref: str
    before: str
    after: str
    is_deleted: bool = False
    pushed_at: int | None = None
    committed_at: float | None = None
    is_single: bool = False
    default_branch_ref: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRule:
    """One entry of a repository's `publish`: this ref goes to that path.

    `ref` None is the remote's default branch; with `*` at its end it is a pattern. `path` is relative to the mount;
    None is `<owner>/<name>/<branch>`. With `is_latest` the newest version among the matching tags goes to one path
    (None: `<owner>/<name>/latest`), a pre-release only with `prereleases`. With `is_copy` the target is a git working
    copy instead of releases; uncommitted changes in the way fail the pull, unless `autostash` stashes them. With
    `subdirectory` only that directory of the tree is published (parts with slashes between them; None: all of it), and
    nothing that the patterns `exclude` match, as a .gitignore in it would have them. A pattern of refs does not take
    those that `exclude_refs` match: refs of its own kind, full or short, with `*` as their last character or without.
    """

    ref: str | None = None
    path: str | None = None
    is_latest: bool = False
    prereleases: bool = False
    is_copy: bool = False
    autostash: bool = False
    subdirectory: str | None = None
    exclude: tuple[str, ...] = ()
    exclude_refs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository's parameter, validated."""

    full_name: str
    url: str
    forge: Forge = Forge.GITHUB
    publish: tuple[PublishRule, ...] = (PublishRule(),)
    keep_releases: int = 3
    grace_seconds: int = 300
    spares: int = 8
    """How many spares a target may have at most."""
    depth: int = 1
    credentials: str | None = None
    ca: str | None = None
    """The parameter with certificates (PEM) of authorities that may sign the remote's, beside the public ones."""
    external_links: ExternalLinks = ExternalLinks.REFUSE
    max_tree_bytes: int | None = None
    """How many bytes the files of a published tree may have together; None: as many as the stack allows."""
    commit_status: bool = False
    """Post each outcome as a status of the commit on the forge; only with `credentials`."""
    own_secret: bool = False
    """Accept only deliveries through the repository's own URL, signed with its own secret."""
    trust_payload: bool = False
    """Publish what a signed payload names though no ref confirms it yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A ref published to a path (relative to the mount).

    With `is_latest`, `ref` is a pattern, and the newest tag that matches it is published (see `versions.newest`, which
    takes `prereleases`). With `is_retirable` a pattern made it, and it ends when its ref is deleted; a target without
    pattern is never retired. `is_copy`, `autostash`, `subdirectory` and `exclude` as in `PublishRule`.
    """

    ref: str
    path: str
    is_latest: bool = False
    prereleases: bool = False
    is_retirable: bool = False
    is_copy: bool = False
    autostash: bool = False
    subdirectory: str | None = None
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeFilter:
    """What of a commit's tree is published: the tree at `subdirectory` (None: the commit's own).

    Without what the patterns `exclude` match in it; with `skips_links` without the links that may lead out of it.
    """

    subdirectory: str | None = None
    exclude: tuple[str, ...] = ()
    skips_links: bool = False

    @property
    def id(self) -> str:
        """16 hex digits that no other filter has; of the one that leaves nothing out WHOLE_ID."""
        plain = self.to_plain()
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16] if plain else WHOLE_ID

    def to_plain(self) -> dict[str, object]:
        """Return the filter as JSON has it: an object of what is not as by default."""
        values = {
            "subdirectory": self.subdirectory,
            "exclude": list(self.exclude),
            "skips_links": self.skips_links,
        }
        return {name: value for name, value in values.items() if value}


WHOLE_TREE = TreeFilter()
WHOLE_ID = "0" * 16


def filter_of(repository: Repository, target: Target) -> TreeFilter:
    """Return the filter of a target's rule."""
    return TreeFilter(
        subdirectory=target.subdirectory,
        exclude=target.exclude,
        skips_links=repository.external_links is ExternalLinks.SKIP,
    )


@dataclass(frozen=True, slots=True)
class Tip:
    """What a ref names on the remote: `object_id`, and `commit`, the same after peeling annotated tags."""

    ref: str
    object_id: str
    commit: str


@dataclass(frozen=True, slots=True)
class Counts:
    """What a run wrote, removed and fetched; files are regular files and links."""

    files_written: int = 0
    files_removed: int = 0
    bytes_written: int = 0
    bytes_fetched: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class Durations:
    """Where the time went, in milliseconds."""

    fetch_ms: float = 0.0
    checkout_ms: float = 0.0
    publish_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one delivery ended for one target.

    `push_to_visible_seconds` runs from GitHub's `pushed_at` (else the head commit's time) to the flip; None where
    nothing was flipped or the push's time is unknown. `last_success_age_seconds` is the age of the last successful
    check of what consumers read: 0 after a success, None where nothing was ever published. `commit` is what readers
    have; `refused_commit` is what a failure kept from them: the commit that the ref named, or, where that is not known,
    what was pushed. `detail` goes to the log, and into the answer where it is of the commit alone; `notes` only to the
    log.
    """

    kind: OutcomeKind
    reason: str
    status: int = 200
    repository: str | None = None
    ref: str | None = None
    path: str | None = None
    commit: str | None = None
    previous_commit: str | None = None
    refused_commit: str | None = None
    counts: Counts = field(default_factory=Counts)
    durations: Durations = field(default_factory=Durations)
    push_to_visible_seconds: float | None = None
    last_success_age_seconds: float | None = None
    detail: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """What a directory takes: its files and links, at any depth, and the bytes of their contents."""

    files: int = 0
    bytes: int = 0
