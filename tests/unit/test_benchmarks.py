"""The benchmarks' pure parts: what counts as a file call on the mount, how pairs are compared, what the table says."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks import cold, imports
from benchmarks.calls import MILLISECONDS, count_calls, model_seconds
from benchmarks.contenders import git_sync
from benchmarks.figures import (
    COPY,
    GIT_CLONE,
    GIT_CLONE_PARALLEL,
    GIT_PULL,
    OURS,
    Cell,
    Results,
    Timing,
    ratio,
    typical,
)
from benchmarks.histories import TextHistory
from benchmarks.readme import short_table
from benchmarks.report import report, with_section
from testing.repositories import archive, require_git

MOUNT = "/mnt/efs"
_SECOND = Timing(1.0, 1.0)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('newfstatat(AT_FDCWD</work>, "/mnt/efs/a", {st_mode=S_IFREG|0644}, 0) = 0', "look up"),
        ('newfstatat(8</mnt/efs/a>, "", {st_mode=S_IFREG|0644}, AT_EMPTY_PATH) = 0', "other"),
        ('newfstatat(8</mnt/efs>, "a", {st_mode=S_IFREG|0644}, AT_SYMLINK_NOFOLLOW) = 0', "look up"),
        ('readlink("/mnt/efs/current", ""..., 4096) = 49', "look up"),
        ('openat(AT_FDCWD</work>, "/mnt/efs/a", O_RDONLY|O_CLOEXEC) = 5</mnt/efs/a>', "open"),
        ('openat(8</mnt/efs>, "a", O_RDONLY|O_PATH|O_DIRECTORY) = 5</mnt/efs/a>', "open directory"),
        ('openat(8</mnt/efs>, "a", O_WRONLY|O_CREAT|O_TRUNC, 0644) = 5</mnt/efs/a>', "create"),
        ('read(5</mnt/efs/a>, ""..., 65536) = 446', "read"),
        ("getdents64(5</mnt/efs>, 0x55 /* 4 entries */, 32768) = 176", "list"),
        ('unlinkat(5</mnt/efs>, "a", 0) = 0', "unlink"),
        ('unlinkat(5</mnt/efs>, "a", AT_REMOVEDIR) = 0', "rmdir"),
        ('rename("/mnt/efs/a", "/mnt/efs/b") = 0', "rename"),
        ('symlink("releases/x", "/mnt/efs/link") = 0', "symlink"),
        ("utimensat(5</mnt/efs>, \"a\", NULL, AT_SYMLINK_NOFOLLOW) = 0", "set attributes"),
        ("flock(5</mnt/efs/.lock>, LOCK_EX|LOCK_NB) = 0", "lock"),
        ("fcntl(5</mnt/efs/.lock>, F_SETLKW, {l_type=F_WRLCK}) = 0", "lock"),
        ("fcntl(5</mnt/efs/a>, F_GETFD) = 0", "other"),
        ("close(5</mnt/efs/a>) = 0", "close"),
    ],
)  # fmt: skip
def test_each_call_has_its_kind(line: str, kind: str) -> None:
    """As strace writes them with -f and -y; each kind has its price."""
    assert count_calls([f"4711  {line}"], MOUNT, is_inside=False) == {kind: 1}
    assert kind in MILLISECONDS


def test_closing_what_was_written_sends_it() -> None:
    """Once: the next close of the same file has nothing to send."""
    lines = [
        'write(5</mnt/efs/a>, ""..., 10) = 10',
        "close(5</mnt/efs/a>) = 0",
        "close(5</mnt/efs/a>) = 0",
    ]
    assert count_calls(lines, MOUNT, is_inside=False) == {"write": 1, "flush": 1, "close": 1}


@pytest.mark.parametrize(
    "line",
    [
        'openat(AT_FDCWD</work>, "/etc/hosts", O_RDONLY) = 5</etc/hosts>',
        "close(5</mnt/efs-other/a>) = 0",
        "close(7<socket:[123]>) = 0",
        "<... openat resumed>) = 5</mnt/efs/a>",
        "--- SIGCHLD {si_signo=SIGCHLD} ---",
        "+++ exited with 0 +++",
    ],
)
def test_what_is_elsewhere_is_not_counted(line: str) -> None:
    """Other directories, sockets, the second half of a call that was interrupted, signals."""
    assert not count_calls([f"4711  {line}"], MOUNT, is_inside=False)


@pytest.mark.parametrize("line", ['lstat("src/a", 0x7f) = 0', 'openat(AT_FDCWD, ".git/HEAD", O_RDONLY) = 3'])
def test_relative_paths_count_for_who_works_on_the_mount(line: str) -> None:
    """git changes into its directory and names everything from there; others do not."""
    assert count_calls([line], MOUNT, is_inside=True).total() == 1
    assert count_calls([line], MOUNT, is_inside=False).total() == 0


def test_the_model_adds_up_latencies() -> None:
    """Two looks and a rename: 0.6 + 0.6 + 3 ms."""
    assert model_seconds(Counter({"look up": 2, "rename": 1, "write": 9})) == pytest.approx(0.0042)


def test_ratios_are_of_pairs() -> None:
    """A busy moment falls on both of a pair: the ratio stays what it is."""
    ours = [Timing(each, each) for each in (1.0, 10.0, 2.0)]
    theirs = [Timing(each, each) for each in (4.0, 40.0, 8.0)]
    assert ratio(ours, theirs).middle == ratio(ours, theirs).low == 0.25


def test_a_push_that_merged_packs_is_not_the_typical_one() -> None:
    """The median of the totals."""
    assert typical([Counter(read=9), Counter(read=2), Counter(read=3)]) == {"read": 3}


def test_the_report_says_which_bound_was_missed() -> None:
    """By the ratio of pairs, at the size that the bound names."""
    row = {OURS: Cell([Timing(0.03, 0.04)]), GIT_PULL: Cell([Timing(0.1, 0.1)])}
    text = report(Results(pushes={(10_000, 1): row}), ["here, now"], is_slow_mount=False)
    assert "| push of 1 to 10,000 files ÷ git pull --rebase | 0.2 | 0.3 | **missed** |" in text
    assert "| 10,000 | 1 | 30.0 | 40.0 |" in text
    assert "50,000" not in text


def test_a_working_copy_is_compared_with_the_pull_that_it_does() -> None:
    """In a table of its own, with the pushes onto a local commit; its calls are held to a bound of their own."""
    calls = Counter({"read": 60, "create": 67, "other": 9})
    row = {OURS: Cell([Timing(0.03, 0.04)]), COPY: Cell([Timing(0.05, 0.05)], [calls]), GIT_PULL: Cell([_SECOND])}
    replayed = {COPY: Cell([Timing(0.06, 0.06)]), GIT_PULL: Cell([_SECOND])}
    results = Results(pushes={(10_000, 1): row}, replays={(10_000, 1): replayed})
    text = report(results, ["here, now"], is_slow_mount=False)
    assert "| 10,000 | 1 | 0 | 50.0 | 1,000 | 0.050 (0.050–0.050) | 1.67 (1.67–1.67) |" in text
    assert "| 10,000 | 1 | 1 | 60.0 | 1,000 | 0.060 (0.060–0.060) | – |" in text
    assert "| the same to a working copy ÷ git pull --rebase | 0.6 | 0.05 | reached |" in text
    assert "| the same to a working copy, the largest of all sizes | 126 | 127 | **missed** |" in text
    assert "| files | changed | git2efs | until answered | git pull --rebase | ÷ git pull --rebase |" in text


def test_pushes_seconds_apart_tell_what_they_wrote() -> None:
    """A push that wrote the whole tree misses the bound, however fast it was."""
    row = {OURS: Cell([Timing(0.03, 0.04, 1), Timing(0.31, 0.31, 10_000)]), GIT_PULL: Cell([_SECOND, _SECOND])}
    text = report(Results(apart={(10_000, 1): row}), ["here, now"], is_slow_mount=False)
    assert "| 10,000 | 1 | 170 | 10,000 | 1,000 | 0.17 (0.10–0.24) |" in text
    assert "| files written by a push of 1, seconds after the last | 2 | 1e+04 | **missed** |" in text


def test_previews_tell_what_they_fetched() -> None:
    """The most that one fetched."""
    timings = [Timing(0.5, 0.5, 1000, 900), Timing(0.5, 0.5, 1000, 1_900)]
    text = report(
        Results(previews={1000: {OURS: Cell(timings), GIT_CLONE: Cell([_SECOND] * 2)}}), [], is_slow_mount=False
    )
    assert "| 1,000 | 500 | 1,900 | 1,000 | 0.50 (0.50–0.50) |" in text


def test_trees_of_text_have_a_bound_of_their_own() -> None:
    """Beside first publishes of files that do not compress."""
    row = {OURS: Cell([Timing(2.0, 2.0)]), GIT_CLONE: Cell([_SECOND]), GIT_CLONE_PARALLEL: Cell([_SECOND])}
    text = report(Results(texts={10_000: row}), [], is_slow_mount=False)
    assert "| 10,000 | 2,000 | 1,000 | 1,000 | 2.00 (2.00–2.00) | 2.00 (2.00–2.00) |" in text
    assert "| first publish of 10,000 files of text ÷ git clone --depth 1 | 1.5 | 2 | **missed** |" in text


def test_text_is_packed_as_deltas(tmp_path: Path) -> None:
    """That is what the trees of people are, and what the other trees of the benchmark are not."""
    require_git()
    history = TextHistory(tmp_path, 50)
    index = next(history.upstream.path.glob("objects/pack/*.idx"))
    lines = history.upstream.git("verify-pack", "-v", index).splitlines()
    deltas = [line for line in lines if len(line.split()) == 7]
    assert len(deltas) > 25
    assert len(archive(history.upstream, history.push(1))) == 50


def test_git_sync_takes_part_where_its_program_is(tmp_path: Path) -> None:
    """It gets what its manual names; a program that fails ends the benchmark with what it said."""
    program = tmp_path / "git-sync"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >seen\n')
    program.chmod(0o755)
    contender = git_sync(program, "http://127.0.0.1/a.git", tmp_path / "tree")
    contender.publish()
    wanted = ["--repo=http://127.0.0.1/a.git", "--ref=main", "--depth=1", f"--root={tmp_path}/tree", "--link=current"]
    assert (tmp_path / "tree/seen").read_text().splitlines() == [*wanted, "--one-time"]
    program.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    with pytest.raises(RuntimeError, match="broken"):
        contender.publish()


def test_readme_has_a_working_copy_beside_releases() -> None:
    """A column of its own, where the results know one; with its calls."""
    row = {OURS: Cell([Timing(0.03, 0.04)]), COPY: Cell([Timing(0.05, 0.05)], [Counter(read=7)])}
    section = report(Results(pushes={(10_000, 1): row}), ["here, now"], is_slow_mount=False)
    document = with_section(with_section("", "On a local disk", section), "On a mount with the latency of EFS", section)
    table = short_table(document).splitlines()
    assert table[0] == "| files | on | git2efs | git2efs working copy |"
    assert table[2:4] == ["| 10,000 | local disk | 30.0 ms | 50.0 ms |", "|  | file calls | – | 7 |"]


def test_a_run_replaces_its_own_section_alone() -> None:
    """The local run and the one on a slow mount are made at different times, and stand in one file."""
    once = with_section(with_section("", "Here", "old here"), "There", "old there")
    again = with_section(once, "Here", "new here")
    assert "old here" not in again
    assert "old there" in again
    assert again.index("new here") < again.index("old there")
    assert with_section(again, "There", "old there") == again


def test_imports_are_compared_pair_by_pair() -> None:
    """Each round on its own, so that a busy moment falls on both; who is over the bound is said to have missed it."""
    results = {
        "webhook, direct": imports.Imported([0.1, 0.2, 0.4], 300),
        "worker": imports.Imported([0.15, 0.3, 0.6], 310),
        imports.EVERYTHING: imports.Imported([0.2, 0.4, 0.8], 700),
    }
    assert imports.compared(results, "webhook, direct").middle == pytest.approx(0.5)
    section = imports.section(results)
    assert "| webhook, direct | 200 | 300 | 0.50 (0.50–0.50) | 0.55 | reached |" in section
    assert "| worker | 300 | 310 | 0.75 (0.75–0.75) | 0.55 | **missed** |" in section
    assert "| everything | 400 | 700 | 1 |" in section


def test_imports_are_measured_in_a_python_of_their_own() -> None:
    """What this process has loaded is loaded again there, and counted."""
    seconds, modules = imports.imported("import handler.webhook")
    assert 0 < seconds < 30
    assert 50 < modules < 330


def test_cold_starts_tell_each_side_apart() -> None:
    """Where both sides are one process, there is one figure."""
    isolated = cold.Starts([0.3, 0.4, 0.5], [0.45], [0.2], [0.1])
    text = cold.section({"isolated": isolated, "inline": cold.Starts([0.3], [0.35], [], [0.3], 71)})
    assert "| isolated | 400 | 450 | 200 | 100 | – |" in text
    assert "| inline | 300 | 350 | – | 300 | 71 |" in text
