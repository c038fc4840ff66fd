"""A new, empty working copy: what `git init` and `git remote add` of one branch make."""

import os
import shutil
from contextlib import suppress

from handler.config.names import branch_of
from handler.mount.fs.files import write_whole
from handler.mount.working_copy.gitdir.staging_area import NAME

_DIRECTORIES = ("objects/pack", "objects/info", "refs/heads", "refs/remotes", "refs/tags", NAME)
_ASIDE = ".git2efs.new"


def init_repository(path: str, url: str, branch_ref: str) -> None:
    """Make `<path>/.git`, on the branch, which is not born yet; `path` and what is above it are made where missing.

    Made aside and renamed: it is there with all that belongs to it, or not at all. The name aside is fixed, so that the
    next run removes what a killed one left. Raises FileExistsError or another OSError where something is there.
    """
    aside = os.path.join(path, _ASIDE)
    os.makedirs(path, exist_ok=True)
    with suppress(FileNotFoundError):
        shutil.rmtree(aside)
    for each in _DIRECTORIES:
        os.makedirs(os.path.join(aside, each))
    write_whole(os.path.join(aside, "config"), _config(url, branch_ref).encode())
    write_whole(os.path.join(aside, "HEAD"), f"ref: {branch_ref}\n".encode())
    os.rename(aside, os.path.join(path, ".git"))


def _config(url: str, branch_ref: str) -> str:
    branch = branch_of(branch_ref)
    return "".join(
        (
            "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n",
            f'[remote "origin"]\n\turl = {_quoted(url)}\n',
            f"\tfetch = {_quoted(f'+{branch_ref}:refs/remotes/origin/{branch}')}\n",
            f'[branch "{_escaped(branch)}"]\n\tremote = origin\n\tmerge = {_quoted(branch_ref)}\n\trebase = true\n',
        )
    )


def _quoted(value: str) -> str:
    """Return a value as it stands in a config: without its quotes, `#` and `;` would begin a comment."""
    return f'"{_escaped(value)}"' if set(value) & set('#;"\\ ') else value


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
