"""What directories take."""

import os
from pathlib import Path

import pytest

from handler.errors import OutOfTime
from handler.model import Usage
from handler.mount.fs.usage import usage_of


def test_what_is_below_directories_is_counted_and_nothing_else(tmp_path: Path) -> None:
    """Links count as what they are, and are not followed; what is not there takes nothing."""
    for path in ("one/a", "one/b/c", "one/b/d/e", "two/a", "outside/big"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"12345")
    (tmp_path / "one/out").symlink_to(tmp_path / "outside")
    (tmp_path / "linked").symlink_to(tmp_path / "outside")
    roots = [os.fspath(tmp_path / name) for name in ("one", "two", "none", "linked", "two/a")]
    link = len(os.fspath(tmp_path / "outside"))
    heard: list[int] = []
    found = usage_of(roots, workers=4, pulse=heard.append)
    assert found == (Usage(4, 15 + link), Usage(1, 5), Usage(), Usage(), Usage())
    assert heard[-1] == 5

    def end(files: int) -> None:
        raise OutOfTime("now")

    with pytest.raises(OutOfTime):
        usage_of(roots, workers=2, pulse=end)
