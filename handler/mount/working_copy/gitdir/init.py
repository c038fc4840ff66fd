"""Make a new, empty repository, as `git init` and `git remote add` for one branch do."""

import os
from contextlib import suppress

from handler.config.names import branch_of
from handler.mount.fs.directories import make_directories, remove_tree
from handler.mount.fs.files import rename, write_whole
from handler.mount.working_copy.gitdir.copy_config import default_tracking_ref
from handler.mount.working_copy.gitdir.staging_area import NAME

_DIRECTORIES = ("objects/pack", "objects/info", "refs/heads", "refs/remotes", "refs/tags", NAME)
_TEMPORARY = ".git2efs.new"


def init_repository(path: str, url: str, branch_ref: str) -> None:
    """Make `<path>/.git` with an unborn branch. `path` and the directories above it are made if they are missing.

    Raises FileExistsError or another OSError if something is there.
    """
    # Made under a temporary name and renamed, so that `.git` is complete when it appears. The name is fixed: the next
    # run removes what a killed one left.
    temporary = os.path.join(path, _TEMPORARY)
    make_directories(path)
    with suppress(FileNotFoundError):
        remove_tree(temporary)
    for each in _DIRECTORIES:
        make_directories(os.path.join(temporary, each))
    write_whole(os.path.join(temporary, "config"), _config(url, branch_ref).encode())
    write_whole(os.path.join(temporary, "HEAD"), f"ref: {branch_ref}\n".encode())
    rename(temporary, os.path.join(path, ".git"))


def _config(url: str, branch_ref: str) -> str:
    branch, tracking_ref = branch_of(branch_ref), default_tracking_ref("origin", branch_ref)
    return "".join(
        (
            "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n",
            f'[remote "origin"]\n\turl = {_quoted(url)}\n',
            f"\tfetch = {_quoted(f'+{branch_ref}:{tracking_ref}')}\n",
            f'[branch "{_escaped(branch)}"]\n\tremote = origin\n\tmerge = {_quoted(branch_ref)}\n\trebase = true\n',
        )
    )


def _quoted(value: str) -> str:
    """Return a value as a config file has it. Without quotes, `#` and `;` would begin a comment."""
    return f'"{_escaped(value)}"' if set(value) & set('#;"\\ ') else value


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
