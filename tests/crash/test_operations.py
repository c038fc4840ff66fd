"""The counter sees every operation on the mount and no other, and stops where it is told to."""

import errno
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from testing.process import PROJECT
from tests.crash.operations import Manner, Stop

NO_STOP = Stop()

_PRELUDE = """
import os, pickle, shutil, sys, tempfile
from tests.crash.operations import Operations
root = sys.argv[1]
os.chdir(root)
held = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
say = lambda where: print("stopped at", where, flush=True)
operations = Operations(root, pickle.loads(bytes.fromhex(sys.argv[2])), say)
operations.install()
"""


def run(root: Path, code: str, stop: Stop = NO_STOP) -> subprocess.CompletedProcess[str]:
    """Run code in a process that counts its operations below `root`."""
    command = [sys.executable, "-c", _PRELUDE + code, os.fspath(root), pickle.dumps(stop).hex()]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


def counted(root: Path, code: str, kind: str = "modifying") -> Sequence[str]:
    """Return the operations that some code does."""
    result = run(root, code + f"\nprint(*operations.{kind}, sep=chr(10))")
    assert result.returncode == 0, result.stderr
    return result.stdout.split("\n")[:-1] if result.stdout.strip() else []


@pytest.mark.parametrize(
    ("code", "operations"),
    [
        ("os.mkdir(root + '/a', 0o755); os.rmdir(root + '/a')", ["mkdir a", "rmdir a"]),
        ("os.makedirs(root + '/a/b')", ["mkdir a", "mkdir a/b"]),
        ("os.mkdir('a', dir_fd=held); os.rename('a', root + '/b', src_dir_fd=held)", ["mkdir a", "rename a"]),
        ("os.symlink('to', root + '/a'); os.unlink(root + '/a')", ["symlink a", "remove a"]),
        ("os.symlink(b'to', b'a', dir_fd=held); os.utime('a', dir_fd=held, follow_symlinks=False)",
         ["symlink a", "utime a"]),
        ("fd = os.open(root + '/a', os.O_WRONLY | os.O_CREAT); os.write(fd, b'x'); os.close(fd)",
         ["create a", "write <4>", "close <4>"]),
        ("fd = os.open('a', os.O_WRONLY | os.O_CREAT, dir_fd=held); os.close(fd)", ["create a", "close <4>"]),
        ("open(root + '/a', 'wb').close()", ["create a", "close a"]),
        ("with open(root + '/a', 'w+b') as f: f.write(b'x'); f.seek(0); f.truncate()",
         ["create a", "write a", "truncate a", "close a"]),
        ("with open(root + '/a', 'wb') as f:\n for _ in range(3): f.write(b'x')", ["create a", "write a", "close a"]),
        ("fd = os.open(root + '/a', os.O_WRONLY | os.O_CREAT)\nwith os.fdopen(fd, 'wb') as f: f.write(b'x')",
         ["create a", "write <4>", "close <4>"]),
        ("os.mkdir(root + '/a'); os.mkdir(root + '/a/b'); shutil.rmtree(root + '/a')",
         ["mkdir a", "mkdir a/b", "rmdir b", "rmdir a"]),
        ("open(root + '/a', 'wb').close(); os.chmod(root + '/a', 0o600); os.truncate(root + '/a', 1)",
         ["create a", "close a", "chmod a", "truncate a"]),
        ("os.mkdir(root + '/trash-0123456789abcdef')", ["mkdir trash-…"]),
    ],
)  # fmt: skip
def test_what_modifies_the_mount_is_counted(tmp_path: Path, code: str, operations: Sequence[str]) -> None:
    """By name, by open directory, by descriptor, through Python's files: each operation once."""
    assert [line.replace("<5>", "<4>") for line in counted(tmp_path, code)] == operations


@pytest.mark.parametrize(
    "code",
    [
        "os.listdir(root); os.stat(root); os.readlink(root) if os.path.islink(root) else None",
        "os.close(os.open(root, os.O_RDONLY))",
        "fd, name = tempfile.mkstemp(dir='/tmp'); os.write(fd, b'x'); os.close(fd); os.unlink(name)",
        "os.write(1, b'')",
    ],
)
def test_what_leaves_the_mount_alone_is_not_counted(tmp_path: Path, code: str) -> None:
    """Looking, and files elsewhere."""
    assert counted(tmp_path, code) == []


def test_looking_is_counted_apart(tmp_path: Path) -> None:
    """For errors that a server gives to those who only look."""
    (tmp_path / "a").write_bytes(b"content")
    code = "os.listdir(root); os.lstat(root + '/a'); open(root + '/a', 'rb').read()"
    names = [line.split()[0] for line in counted(tmp_path, code, "reading")]
    assert names[:2] == ["listdir", "os.lstat"]
    assert {"open", "read"} <= set(names)


OPEN = "fd = os.open(root + '/a', os.O_WRONLY | os.O_CREAT)"
WRITE = f"{OPEN}; print(os.write(fd, b'whole')); os.close(fd)"


def test_a_kill_comes_before_the_operation(tmp_path: Path) -> None:
    """The process is gone, and the operation was not done."""
    killed = run(tmp_path, "os.mkdir(root + '/a'); os.mkdir(root + '/b')", Stop(Manner.KILL, 2))
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, "stopped at mkdir b\n")
    assert os.listdir(tmp_path) == ["a"]


def test_a_torn_write_is_half_there(tmp_path: Path) -> None:
    """Half of the bytes reach the file, and the process is gone."""
    assert run(tmp_path, WRITE, Stop(Manner.TORN, 2)).returncode == -signal.SIGKILL
    assert (tmp_path / "a").read_bytes() == b"wh"


def test_a_short_write_tells_what_it_wrote(tmp_path: Path) -> None:
    """As POSIX allows, and a careless caller overlooks."""
    assert run(tmp_path, WRITE, Stop(Manner.SHORT, 2)).stdout.splitlines()[-1] == "2"
    assert (tmp_path / "a").read_bytes() == b"wh"


def test_an_error_is_raised_in_the_operations_place_once(tmp_path: Path) -> None:
    """The next operation is done."""
    code = "try: os.mkdir(root + '/a')\nexcept OSError as error: print(error.errno)\nos.mkdir(root + '/b')"
    assert run(tmp_path, code, Stop(Manner.ERROR, 1, errno.ENOSPC)).stdout.splitlines()[-1] == str(errno.ENOSPC)
    assert os.listdir(tmp_path) == ["b"]


def test_a_lasting_error_meets_every_later_operation(tmp_path: Path) -> None:
    """A full disk."""
    code = "for name in 'abc':\n try: os.mkdir(root + '/' + name)\n except OSError as error: print(error.errno)"
    assert run(tmp_path, code, Stop(Manner.ERROR, 2, errno.EIO, is_lasting=True)).stdout.split()[-2:] == ["5", "5"]
    assert os.listdir(tmp_path) == ["a"]


def test_a_close_that_fails_has_closed(tmp_path: Path) -> None:
    """So NFS tells of writes that were lost; the descriptor is gone all the same."""
    code = f"{OPEN}\ntry: os.close(fd)\nexcept OSError: pass\ntry: os.fstat(fd)\nexcept OSError: print('closed')"
    assert run(tmp_path, code, Stop(Manner.ERROR, 2, errno.EDQUOT)).stdout.splitlines()[-1] == "closed"
