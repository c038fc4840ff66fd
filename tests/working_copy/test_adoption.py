"""Which repositories may be pulled into, and what is said of the others; and new ones, as git takes them."""

import os
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from handler.errors import CopyUnusable
from handler.mount.fs import files
from handler.mount.working_copy.gitdir.copy_config import Config, tracking_ref
from handler.mount.working_copy.gitdir.init import init_repository
from handler.mount.working_copy.gitdir.remote_urls import is_same_remote
from handler.mount.working_copy.gitdir.validate import CopyConfig, validate
from testing.repositories import fsck, run_git
from tests.working_copy.plain import commit, head, plain

URL = "https://example.com/octo/site.git"
MAIN = "refs/heads/main"
SECRET = "s3cr3t"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clone whose origin says that it is the configured repository."""
    base = tmp_path_factory.mktemp("template")
    upstream = plain(base / "upstream")
    commit(upstream, {"a": "1\n"})
    commit(upstream, {"a": "2\n"})
    run_git("clone", "--quiet", upstream, "copy", directory=base)
    run_git("remote", "set-url", "origin", URL, directory=base / "copy")
    return base / "copy"


@pytest.fixture
def copy(template: Path, tmp_path: Path) -> Path:
    """Return a copy of it to change."""
    return Path(shutil.copytree(template, tmp_path / "copy", symlinks=True))


def configured(copy: Path, *settings: str) -> Path:
    """Set values (`name=value`) in the copy's config."""
    for each in settings:
        name, _, value = each.partition("=")
        run_git("config", "--add", name, value, directory=copy)
    return copy


def refusal(copy: Path, url: str = URL, branch_ref: str = MAIN) -> str:
    """Return why the copy is refused."""
    with pytest.raises(CopyUnusable) as refused:
        validate(str(copy), url, branch_ref)
    return str(refused.value)


# -- adopted -----------------------------------------------------------------------------------------------


def test_a_plain_clone_is_adopted(copy: Path) -> None:
    """With what its config says."""
    wanted = CopyConfig(
        remote="origin",
        tracking_ref="refs/remotes/origin/main",
        committer=None,
        trusts_filemode=True,
        trusts_ctime=True,
    )
    assert validate(str(copy), URL, MAIN) == wanted
    configured(copy, "user.name=Bob Copy", "user.email=bob@example.com", "core.trustctime=no")
    run_git("config", "core.fileMode", "off", directory=copy)
    run_git("config", "core.logAllRefUpdates", "0", directory=copy)
    found = validate(str(copy), URL, MAIN)
    assert found.committer == b"Bob Copy <bob@example.com>"
    assert (found.trusts_filemode, found.trusts_ctime, found.makes_logs) == (False, False, False)


def test_the_committer_is_whom_git_would_name(copy: Path) -> None:
    """Cut at both ends as git cuts it; nobody where it could not be written."""
    configured(copy, "user.name=  Bob, Jr. ", "user.email=<bob@example.com>")
    assert validate(str(copy), URL, MAIN).committer is None
    run_git("config", "user.email", " bob@example.com.", directory=copy)
    (copy / "b").write_text("b")
    run_git("add", "b", directory=copy)
    script = 'env -u GIT_COMMITTER_NAME -u GIT_COMMITTER_EMAIL git commit -q -m B && git log -1 --format="%cn <%ce>"'
    shown = run_git("-c", f"alias.told=!{script}", "told", directory=copy)
    assert validate(str(copy), URL, MAIN).committer == shown.strip()


@pytest.mark.parametrize(
    ("fetch", "wanted"),
    [
        (["+refs/heads/*:refs/remotes/up/*"], "refs/remotes/up/main"),
        (["refs/heads/main:refs/kept/main"], "refs/kept/main"),
        (["main:refs/kept/short"], "refs/kept/short"),
        (["+refs/heads/other:refs/kept/other", "+refs/heads/ma*:refs/kept/ma*"], "refs/kept/main"),
        (["+refs/heads/other:refs/kept/other", "^refs/heads/main", "refs/tags/*:refs/tags/*"], None),
        (["+refs/heads/main", "refs/heads/*x:refs/kept/*", "", ":", "refs/heads/*:refs/kept/one"], None),
        (["+refs/*:refs/*"], MAIN),
    ],
)
def test_where_the_branch_is_kept_is_what_the_fetch_lines_say(fetch: list[str], wanted: str | None) -> None:
    """The first that covers it."""
    assert tracking_ref(fetch, MAIN) == wanted


def test_git_keeps_the_branch_where_we_say_that_it_does(copy: Path, template: Path) -> None:
    """By the same line of the config."""
    run_git("config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/up/stream/*", directory=copy)
    found = validate(str(copy), URL, MAIN)
    run_git("config", "remote.origin.url", template, directory=copy)
    run_git("fetch", "--quiet", "origin", directory=copy)
    assert head(copy, found.tracking_ref) == head(template)
    run_git("config", "--unset-all", "remote.origin.fetch", directory=copy)
    run_git("config", "remote.origin.url", URL, directory=copy)
    assert validate(str(copy), URL, MAIN).tracking_ref == "refs/remotes/origin/main"


def test_of_several_remotes_the_branchs_own_is_taken(copy: Path) -> None:
    """If it is the configured one; else whichever is."""
    run_git("remote", "add", "mirror", "git@example.com:octo/site", directory=copy)
    run_git("remote", "add", "fork", "https://example.com/bob/site", directory=copy)
    assert validate(str(copy), URL, MAIN).remote == "origin"
    run_git("config", "branch.main.remote", "mirror", directory=copy)
    assert validate(str(copy), URL, MAIN).remote == "mirror"
    run_git("config", "branch.main.remote", "fork", directory=copy)
    assert validate(str(copy), URL, MAIN).remote == "origin"
    run_git("remote", "remove", "origin", directory=copy)
    assert validate(str(copy), URL, MAIN).tracking_ref == "refs/remotes/mirror/main"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/octo/site",
        "https://EXAMPLE.com:443/octo/site.git/",
        f"https://bob:{SECRET}@example.com/octo/site.git",
        f"https://{SECRET}@example.com//octo/site",
        "http://example.com/octo/site",
        "git@example.com:octo/site.git",
        "example.com:/octo/site.git",
        "ssh://git@example.com:2222/octo/site.git",
        "git://example.com/octo/site",
        "https://example.com/octo/%73ite.git",
    ],
)
def test_one_repository_has_many_addresses(url: str) -> None:
    """Whoever asks there, and however."""
    assert is_same_remote(url, URL)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/octo/other",
        "https://example.com/Octo/site",
        "https://example.org/octo/site.git",
        "https://example.com:8443/octo/site.git",
        "https://example.com/octo",
        "https://example.com/octo/site/more",
        "https://example.com@evil.org/octo/site.git",
        "https://evil.org/example.com/octo/site.git",
        "https://evil.org#@example.com/octo/../octo/site.git",
        "evil.org:example.com/octo/site",
        "/octo/site.git",
        "file:///octo/site.git",
        "file://example.com/octo/site.git",
        "ext::sh -c octo/site",
        "C:octo/site.git",
        "",
        "https://example.com/.git",
        None,
    ],
)
def test_another_repository_is_never_taken_for_it(url: str | None) -> None:
    """Nor a directory, nor nothing."""
    assert not is_same_remote(url, URL)


def test_loopback_addresses_differ_by_their_ports() -> None:
    """As a fixture's do."""
    assert is_same_remote("http://127.0.0.1:8080/octo/site.git", "http://127.0.0.1:8080/octo/site")
    assert not is_same_remote("http://127.0.0.1:8081/octo/site.git", "http://127.0.0.1:8080/octo/site")


# -- refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("core.bare=true", "bare"),
        ("core.worktree=/elsewhere", "core.worktree"),
        ("core.repositoryformatversion=2", "newer"),
        ("core.repositoryformatversion=one", "no number"),
        ("extensions.objectformat=sha256", "extensions.objectformat"),
        ("extensions.refstorage=reftable", "extensions.refstorage"),
        ("extensions.worktreeconfig=true", "extensions.worktreeconfig"),
        ("extensions.unheard=", "extensions.unheard"),
        ("extensions.partialclone=origin", "partial clone"),
        ("remote.origin.promisor=true", "partial clone"),
        ("remote.other.partialclonefilter=blob:none", "partial clone"),
        ("core.sparsecheckout=true", "sparse"),
        ("core.splitindex=1", "split"),
        ("core.autocrlf=true", "autocrlf"),
        ("core.symlinks=false", "symlinks"),
        ("core.filemode=perhaps", "neither yes nor no"),
    ],
)
def test_what_cannot_be_pulled_into_is_told(copy: Path, setting: str, told: str) -> None:
    """One sentence a reason."""
    name, _, value = setting.partition("=")
    with (copy / ".git/config").open("a") as file:
        section, _, key = name.rpartition(".")
        section, _, subsection = section.partition(".")
        file.write(f"[{section}{f' {chr(34)}{subsection}{chr(34)}' if subsection else ''}]\n\t{key} = {value}\n")
    assert told in refusal(copy)


@pytest.mark.parametrize(
    "setting",
    [
        "extensions.noop=1",
        "extensions.objectformat=sha1",
        "extensions.refstorage=files",
        "core.repositoryformatversion=1",
        "core.autocrlf=input",
        "core.autocrlf=false",
        "remote.origin.promisor=false",
        "core.sparsecheckout=false",
        "core.bare=",
        "core.splitindex=0",
    ],
)
def test_what_changes_nothing_is_taken(copy: Path, setting: str) -> None:
    """Git writes some of it itself."""
    name, _, value = setting.partition("=")
    run_git("config", name, value, directory=copy)
    assert validate(str(copy), URL, MAIN).remote == "origin"


def conflicting(copy: Path) -> str:
    """Make a branch that conflicts with the copy's; returns its commit."""
    run_git("checkout", "--quiet", "-b", "side", "HEAD~1", directory=copy)
    side = commit(copy, {"a": "side\n"})
    run_git("checkout", "--quiet", "main", directory=copy)
    return side


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("merge", "a merge"),
        ("cherry-pick", "a cherry-pick"),
        ("revert", "a revert"),
        ("rebase", "a rebase"),
        ("rebase --apply", "a rebase"),
        ("bisect start", "a bisect"),
    ],
)
def test_what_a_person_has_not_finished_is_left_to_them(copy: Path, command: str, told: str) -> None:
    """Named, so that they find it."""
    side = conflicting(copy)
    argument = {"revert": "HEAD~1", "bisect start": "HEAD"}.get(command, side)
    run_git(*command.split(), argument, directory=copy, check=False)
    assert f"{told} " in refusal(copy) or f"{told}," in refusal(copy)
    assert "half done" in refusal(copy)


def test_another_branch_or_none_is_told(copy: Path) -> None:
    """What is checked out is not changed to please us."""
    run_git("checkout", "--quiet", "-b", "side", directory=copy)
    assert "on the branch side" in refusal(copy)
    assert validate(str(copy), URL, "refs/heads/side").tracking_ref == "refs/remotes/origin/side"
    run_git("checkout", "--quiet", "--detach", directory=copy)
    assert "detached" in refusal(copy)


def test_another_remote_is_told_without_its_address(copy: Path) -> None:
    """Which may hold a token; ours is not shown either."""
    run_git("remote", "set-url", "origin", f"https://bob:{SECRET}@example.com/bob/site", directory=copy)
    run_git("remote", "set-url", "--push", "origin", URL, directory=copy)
    told = refusal(copy, url=f"https://{SECRET}@example.com/octo/site")
    assert "no clone" in told
    assert SECRET not in told
    run_git("remote", "remove", "origin", directory=copy)
    assert "no clone" in refusal(copy)


def test_a_mirroring_clone_is_refused(copy: Path) -> None:
    """What it fetches goes over its own branches, and would be pulled over local commits."""
    run_git("config", "remote.origin.fetch", "+refs/*:refs/*", directory=copy)
    assert "over its own" in refusal(copy)


def test_linked_working_trees_and_submodules_are_refused(copy: Path, tmp_path: Path) -> None:
    """Their git directory is a file that leads elsewhere; a link is the same."""
    run_git("worktree", "add", "--quiet", tmp_path / "linked", directory=copy)
    assert "no directory" in refusal(tmp_path / "linked")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/.git").symlink_to(copy / ".git")
    assert "no directory" in refusal(tmp_path / "other")


def test_links_where_we_would_write_are_refused(copy: Path, tmp_path: Path) -> None:
    """They could lead to another repository's refs or objects."""
    os.rename(copy / ".git/refs", tmp_path / "refs")
    (copy / ".git/refs").symlink_to(tmp_path / "refs")
    assert ".git/refs is a symbolic link" in refusal(copy)


def test_what_is_no_repository_is_told(tmp_path: Path) -> None:
    """Nothing, some files, a repository half made."""
    assert "no .git" in refusal(tmp_path)
    assert "no .git" in refusal(tmp_path / "nothing")
    (tmp_path / ".git").mkdir()
    assert "no HEAD" in refusal(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"[core\n",
        b"[core]\n\tbare = \xff\xfe\n",
        b'[remote "origin]\n',
        b"[core]\n\t1bare\n",
        b"\0" * 40,
        b'[core]\n\tx = "open\n',
        b"[a]\n\tb = \\q\n",
    ],
)
def test_a_broken_config_is_told(copy: Path, content: bytes) -> None:
    """And nothing of it is believed."""
    (copy / ".git/config").write_bytes((copy / ".git/config").read_bytes() + content)
    assert re.search("cannot be read|yes nor no", refusal(copy))
    (copy / ".git/config").unlink()
    assert "config" in refusal(copy)


def test_what_a_config_includes_is_not_read(copy: Path, tmp_path: Path) -> None:
    """It would be a file that the copy's owner can name and may not read."""
    (tmp_path / "included").write_text("[core]\n\tbare = true\n")
    configured(copy, f"include.path={tmp_path / 'included'}")
    assert validate(str(copy), URL, MAIN).remote == "origin"


def test_names_in_a_config_are_read_in_any_case() -> None:
    """Sections and keys; a subsection is what it is."""
    config = Config.parse(b'[CORE]\n\tBare\n[Remote "Origin"]\n\tURL = x\n[remote "Origin"]\n\turl = "y # z" ; c\n')
    assert config.flag("core", "bare", default=False)
    assert config.values("remote", "Origin", "url") == ["x", "y # z"]
    assert config.values("remote", "origin", "url") == []
    assert config.remotes() == ["Origin"]


def test_a_copy_is_examined_in_few_operations(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is done at every push."""
    validate(str(copy), URL, MAIN)
    calls: list[str] = []

    def counted(name: str, call: Callable[..., object], *arguments: object, **named: object) -> object:
        calls.append(name)
        return call(*arguments, **named)

    for name in ("open", "scandir", "listdir", "stat", "lstat", "readlink", "close"):
        monkeypatch.setattr(os, name, partial(counted, name, getattr(os, name)))
    monkeypatch.setattr(files, "open_beneath", partial(counted, "open", files.open_beneath))
    validate(str(copy), URL, MAIN)
    assert sorted(calls) == ["close"] * 3 + ["open"] * 3 + ["scandir"]


# -- made --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("branch", ["main", "deep/er", 'a"b#c;d', "größe"])
def test_git_takes_a_new_copy_for_one_of_its_own(tmp_path: Path, template: Path, branch: str) -> None:
    """Empty first; then it can be pulled into."""
    path = tmp_path / "new"
    branch_ref = f"refs/heads/{branch}"
    init_repository(str(path), URL, branch_ref)
    found = validate(str(path), URL, branch_ref)
    assert found == CopyConfig(
        remote="origin",
        tracking_ref=f"refs/remotes/origin/{branch}",
        committer=None,
        trusts_filemode=True,
        trusts_ctime=True,
    )
    assert run_git("status", "--porcelain", directory=path) == b""
    assert run_git("symbolic-ref", "HEAD", directory=path).decode().strip() == branch_ref
    fsck(path)
    upstream = tmp_path / "upstream"
    run_git("clone", "--quiet", "--bare", template, upstream, directory=tmp_path)
    run_git("update-ref", branch_ref, "refs/heads/main", directory=upstream)
    assert run_git("remote", "get-url", "origin", directory=path).decode().strip() == URL
    run_git("remote", "set-url", "origin", upstream, directory=path)
    run_git("pull", "--quiet", directory=path)
    assert run_git("config", "--get", f"branch.{branch}.rebase", directory=path) == b"true\n"
    assert head(path) == head(path, found.tracking_ref) == head(template)
    assert run_git("reflog", directory=path)


def test_what_a_killed_run_left_of_a_new_copy_is_made_anew(tmp_path: Path) -> None:
    """It never had the name `.git`."""
    (tmp_path / "new/.git2efs.new/objects/pack").mkdir(parents=True)
    init_repository(str(tmp_path / "new"), URL, MAIN)
    assert os.listdir(tmp_path / "new") == [".git"]
    fsck(tmp_path / "new")


def test_a_new_copy_is_never_made_over_another(copy: Path) -> None:
    """Whoever asks for it."""
    tip = head(copy)
    with pytest.raises(OSError, match="not empty"):
        init_repository(str(copy), URL, MAIN)
    assert head(copy) == tip
