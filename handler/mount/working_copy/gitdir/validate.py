"""Check that the repository at a path can be pulled into: a plain clone of the same remote, on its branch.

It may be anybody's, so whatever is not understood is refused, in a sentence for its owner. The check opens three files,
as it is done at every push.
"""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass

from handler.config.names import branch_of, ref_problem
from handler.errors import CopyUnusable
from handler.mount.fs.directories import open_directory
from handler.mount.fs.files import NOT_REGULAR, read_whole
from handler.mount.working_copy.gitdir.copy_config import Config, default_tracking_ref, tracking_ref
from handler.mount.working_copy.gitdir.refs import Refs
from handler.mount.working_copy.gitdir.remote_urls import is_same_remote

_REQUIRED = ("HEAD", "config", "objects", "refs")
_WRITTEN_BY_US = ("objects", "refs", "logs", "git2efs")
_MAX_CONFIG_BYTES = 1024 * 1024
_IN_PROGRESS = {
    "MERGE_HEAD": "a merge",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase, or `git am`,",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "sequencer": "a cherry-pick or revert",
    "BISECT_LOG": "a bisect",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyConfig:
    """What a copy's config says about pulling into it.

    `remote` is the name of the remote, `tracking_ref` its branch's remote-tracking ref, `committer` the copy's own
    (`Name <mail>`), None if it has none. `trusts_filemode` and `trusts_ctime` are `core.fileMode` and
    `core.trustctime`, `makes_logs` is `core.logAllRefUpdates`. `locks` are the names of the lock files in `.git`
    itself, ours and git's.
    """

    remote: str
    tracking_ref: str
    committer: bytes | None
    trusts_filemode: bool
    trusts_ctime: bool
    makes_logs: bool = True
    locks: tuple[str, ...] = ()


def validate(copy_path: str, url: str, branch_ref: str) -> CopyConfig:
    """Return the copy's config, if the branch can be pulled into it from the remote at `url`.

    Raises CopyUnusable with the reason if not.
    """
    git_directory = os.path.join(copy_path, ".git")
    names = _list_entries(git_directory)
    if missing := next((name for name in _REQUIRED if name not in names), None):
        raise CopyUnusable(f".git has no {missing}: it is no repository, or was not made to its end")
    if "commondir" in names:
        raise CopyUnusable("it is a linked working tree of another repository")
    config = _read_config(git_directory)
    for problem in _problems(config, names):
        raise CopyUnusable(problem)
    remote = _find_remote(config, url, branch_of(branch_ref))
    head = Refs(git_directory).head()
    if head is None:
        raise CopyUnusable(f"its HEAD is detached: check out {branch_of(branch_ref)}")
    if head != branch_ref:
        raise CopyUnusable(f"it is on the branch {branch_of(head)}, and {branch_of(branch_ref)} is pulled into it")
    return CopyConfig(
        remote=remote,
        tracking_ref=_find_tracking_ref(config, remote, branch_ref),
        committer=config.committer(),
        trusts_filemode=config.flag("core", "filemode", default=True),
        trusts_ctime=config.flag("core", "trustctime", default=True),
        makes_logs=_makes_logs(config),
        locks=tuple(sorted(name for name in names if name.endswith(".lock"))),
    )


def _list_entries(git_directory: str) -> frozenset[str]:
    """Return the names in the git directory. Raises CopyUnusable if it is none, or its content is elsewhere."""
    try:
        with open_directory(git_directory) as descriptor, os.scandir(descriptor) as entries:
            is_link = {entry.name: entry.is_symlink() for entry in entries}
    except FileNotFoundError:
        raise CopyUnusable("something else is at the path: there is no .git in it") from None
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise CopyUnusable(
            ".git is no directory: a linked working tree and a submodule cannot be pulled into"
        ) from None
    if link := next((name for name in _WRITTEN_BY_US if is_link.get(name)), None):
        raise CopyUnusable(f".git/{link} is a symbolic link: what is written there would be written elsewhere")
    return frozenset(is_link)


def _read_config(git_directory: str) -> Config:
    try:
        content = read_whole(os.path.join(git_directory, "config"), max_bytes=_MAX_CONFIG_BYTES)
    except IsADirectoryError:
        content = None
    except OSError as error:
        if error.errno not in NOT_REGULAR:
            raise
        raise CopyUnusable(".git/config is no regular file") from None
    if content is None:
        raise CopyUnusable(".git/config is not there")
    if len(content) == _MAX_CONFIG_BYTES:
        raise CopyUnusable(".git/config is too long")
    return Config.parse(content)


def _makes_logs(config: Config) -> bool:
    is_always = config.last("core", "logallrefupdates") == b"always"
    return is_always or config.flag("core", "logallrefupdates", default=True)


def _problems(config: Config, names: frozenset[str]) -> Iterator[str]:
    """Yield the reasons why a pull into the copy is refused."""
    yield from _format_problems(config)
    yield from _checkout_problems(config)
    for name, what in _IN_PROGRESS.items():
        if name in names:
            yield f"{what} is half done in it (.git/{name}): finish or abort it"


def _format_problems(config: Config) -> Iterator[str]:
    if config.flag("core", "bare", default=False):
        yield "it is a bare repository"
    if config.last("core", "worktree") is not None:
        yield "its files are elsewhere (core.worktree)"
    if config.number("core", "repositoryformatversion", default=0) not in (0, 1):
        yield "its format is newer than git2efs knows (core.repositoryformatversion)"
    if config.is_partial():
        yield "it is a partial clone: objects that a pull needs may not be there"
    if extension := config.unknown_extension():
        yield f"it has an extension that git2efs does not know ({extension})"


def _checkout_problems(config: Config) -> Iterator[str]:
    if config.flag("core", "sparsecheckout", default=False):
        yield "it is a sparse check-out (core.sparseCheckout)"
    if config.flag("core", "splitindex", default=False):
        yield "its index is split (core.splitIndex)"
    if config.last("core", "autocrlf") not in (None, b"input") and config.flag("core", "autocrlf", default=False):
        yield "the ends of its lines are converted (core.autocrlf)"
    if not config.flag("core", "symlinks", default=True):
        yield "it has files for symbolic links (core.symlinks)"


def _find_remote(config: Config, url: str, branch: str) -> str:
    """Return the name of the remote with this url. No message shows a url: it may hold a token."""
    matching = [name for name in config.remotes() if is_same_remote(config.url(name), url)]
    if not matching:
        raise CopyUnusable("it is no clone of the repository: none of its remotes has the url that is configured")
    preferred = (config.text("branch", branch, "remote"), "origin")
    return next((name for name in preferred if name in matching), matching[0])


def _find_tracking_ref(config: Config, remote: str, branch_ref: str) -> str:
    name = tracking_ref(config.values("remote", remote, "fetch"), branch_ref)
    found = name or default_tracking_ref(remote, branch_ref)
    if problem := ref_problem(found):
        raise CopyUnusable(f"the ref that it keeps the remote's branch in {problem}")
    if found.startswith("refs/heads/"):
        raise CopyUnusable("its remote's branches are fetched over its own (remote.<name>.fetch)")
    return found
