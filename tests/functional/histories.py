"""A history of pushes that holds what real ones hold, and what trips publishers: one step is one push."""

from collections.abc import Callable
from types import MappingProxyType

from testing.hostile import LEGAL, ODD_FILES
from testing.repositories import Executable, Files, Link, Submodule, Upstream

_MODULE, _OTHER_MODULE = "1" * 40, "2" * 40

_CHANGES: dict[str, Files] = {
    "the first commit": {"README": b"one\n", "src/a.py": b"a = 1\n", "src/b/c.py": b"c = 1\n", "empty": b""},
    "a file changes": {"README": b"two\n"},
    "a file deep down changes": {"src/b/c.py": b"c = 2\n"},
    "a file is added in a new directory": {"docs/guide/one.md": b"# One\n"},
    "a file is removed": {"src/a.py": None},
    "the last file of nested directories is removed": {"docs/guide/one.md": None},
    "a file becomes executable": {"src/b/c.py": Executable(b"c = 2\n")},
    "an executable becomes a plain file": {"src/b/c.py": b"c = 2\n"},
    "an empty file gets content": {"empty": b"x"},
    "a file becomes empty": {"empty": b""},
    "links appear": {"link": Link(b"README"), "src/up": Link(b"../README"), "lost": Link(b"nowhere")},
    "a link changes": {"link": Link(b"src/b/c.py")},
    "a link becomes a file": {"link": b"was a link\n"},
    "a file becomes a link": {"README": Link(b"link")},
    "a link becomes a file again": {"README": b"three\n"},
    "a file becomes a directory": {"link": None, "link/inside/deep": b"deep\n"},
    "a directory becomes a file": {"link": b"was a directory\n"},
    "a directory becomes a link": {"src/b": None, "src": None, "src2/x": b"x\n"},
    "a link takes a directory's place": {"src2": Link(b"README")},
    "a directory takes a link's place": {"src2": None, "src2/x/y": b"y\n"},
    "a directory's file becomes a directory of that name": {"src2/x": None, "src2/x/y/z": b"z\n"},
    "names of any bytes": ODD_FILES,
    "files of any name change": dict.fromkeys(list(ODD_FILES)[:12], b"changed"),
    "files of any name are removed": dict.fromkeys(list(ODD_FILES)[6:18]),
    "a long path": {b"/".join([b"p" * 200] * 10) + b"/f": b"far\n"},
    "a submodule appears": {"module": Submodule(_MODULE), "vendored/lib": Submodule(_MODULE)},
    "a submodule moves on": {"module": Submodule(_OTHER_MODULE)},
    "a submodule becomes a directory": {"module": None, "module/file": b"in it\n"},
    "a directory becomes a submodule": {"module": None},
    "a submodule comes in its place": {"module": Submodule(_MODULE)},
    "a submodule becomes a file": {"module": b"plain\n"},
    "submodules go": {"module": None, "vendored/lib": None},
    "nothing changes": {},
    "a large file": {"large": bytes(range(256)) * 4096},
    "the large file grows by a byte": {"large": bytes(range(256)) * 4096 + b"!"},
    "many files": {f"many/{number % 7}/{number}": b"%d\n" % number for number in range(300)},
    "many go and many change": {
        f"many/{number % 7}/{number}": None if number % 2 else b"new\n" for number in range(200)
    },
    "files swap contents": {"many/0/210": b"211\n", "many/1/211": b"210\n"},
    "content that looks like git's": {"blob": b"blob 5\0hello", "tree": b"100644 x\0" + b"\1" * 20},
}


def _several_commits(upstream: Upstream) -> None:
    """Leave three commits to one push."""
    for number in range(3):
        upstream.commit({"counter": b"%d" % number, f"only-{number}": b"x", f"only-{number - 1}": None})


def _merge(upstream: Upstream) -> None:
    """Merge a side branch that changed other files."""
    upstream.point("side", upstream.tip() or "")
    other = upstream.commit({"from-the-side": b"side\n"}, "side")
    upstream.commit({"meanwhile": b"main\n"})
    upstream.merge(other, files={"from-the-side": b"side\n"})
    upstream.delete("side")


def _unrelated(upstream: Upstream) -> None:
    """Put a new root commit in the branch's place."""
    upstream.commit({"another": b"world\n", "src2/x/y/z": b"other\n"}, parents=())


def _empty(upstream: Upstream) -> None:
    """Commit the empty tree."""
    upstream.commit_tree(LEGAL["empty"](upstream), parents=[upstream.tip() or ""])


def _back(upstream: Upstream) -> None:
    """Go back two commits by force."""
    found = upstream.git("rev-parse", "main~2").decode().strip()
    upstream.point("main", found)


def _committing(files: Files) -> Callable[[Upstream], None]:
    return lambda upstream: void(upstream.commit(files))


def void(_: object) -> None:
    """Forget a result."""


STEPS = MappingProxyType(
    {
        **{name: _committing(files) for name, files in _CHANGES.items()},
        "several commits in one push": _several_commits,
        "a merge": _merge,
        "back by force": _back,
        "an unrelated history": _unrelated,
        "everything goes": _empty,
        "everything comes again": _committing({"README": b"again\n", "src/a.py": b"a = 9\n"}),
    }
)
"""Each step moves `main` of an upstream, so that one push tells it; in this order."""
