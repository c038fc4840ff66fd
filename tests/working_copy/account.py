"""A history told to a person: a script of sh that makes it again, and then pulls with git. Pure."""

from collections.abc import Iterator

from tests.working_copy.dirt import printed
from tests.working_copy.model import GITLINK, Condition, History, Node, changed

PULL = "cd copy && git pull --rebase"
"""The last line: what is judged."""


def account_of(history: History) -> str:
    """Return the script; run by any sh in an empty directory it leaves `copy` pulled, its commits with the same ids."""
    return "\n".join(_lines(history))


def _lines(history: History) -> Iterator[str]:
    yield "# " + ", ".join(sorted(history.events))
    yield "export GIT_CONFIG_GLOBAL=/dev/null GIT_COMMITTER_NAME=me GIT_COMMITTER_EMAIL=me@example.com"
    yield 'add() { git -C "$1" -c core.fsync=none fast-import --quiet --force --date-format=raw-permissive; }'
    yield "git init -q --bare -b main upstream.git"
    depth = "" if history.depth is None else f" --depth {history.depth}"
    done: set[int] = set()
    for at, tip in enumerate(history.seen):
        yield from _importing(history, "upstream.git", history.reachable(tip), done, tip)
        if at == 0:
            yield f"git clone -q{depth} file://$PWD/upstream.git copy"
        else:
            yield "git -C copy fetch -q" if history.base == history.seen[0] else "git -C copy pull -q --rebase"
    if history.local_work:
        yield from _importing(history, "copy", history.local_work, set(), history.local)
        yield "git -C copy reset -q --hard"
    yield from _keeping(history.condition)
    yield from _importing(history, "upstream.git", history.reachable(history.tip), done, history.tip)
    for dirt in history.dirt:
        yield f"# {dirt.label}"
        yield from (f"(cd copy && {line.decode()})" for line in dirt.shell)
    if history.again is not None:
        yield "git -C copy pull --rebase"
        yield from _importing(history, "upstream.git", history.reachable(history.again), done, history.again)
    yield PULL


def _keeping(condition: Condition) -> Iterator[str]:
    if condition.is_packed:
        yield "git -C copy gc -q"
    if not condition.has_logs:
        yield "rm -r copy/.git/logs"
    if not condition.trusts_filemode:
        yield "git -C copy config core.filemode false"
    if condition.index_version != 2:
        yield f"git -C copy update-index --index-version {condition.index_version}"
    if not condition.is_racy:
        dated = "git ls-files -z | xargs -0r touch -h -d '1 minute ago'"
        yield f"(cd copy && {dated} && git update-index -q --refresh)"


def _importing(history: History, repository: str, numbers: list[int], done: set[int], tip: int) -> Iterator[str]:
    """Yield the commands that add nodes, those that are not `done`, and let main name the last."""
    for number in numbers:
        if number not in done:
            done.add(number)
            node = history.nodes[number]
            yield f"# {number} ({history.id_of(number)[:10]}) on {list(node.parents)}: {node.label or 'nothing'}"
            yield "{"
            yield from (f"  {line.decode()}" for line in _stream(history, node))
            yield f"}} | add {repository}"
            if node.extra:
                yield from _with_extra(history, number, repository)
    yield f"git -C {repository} update-ref refs/heads/main {history.id_of(tip)}"


def _with_extra(history: History, number: int, repository: str) -> Iterator[str]:
    """Yield what writes a commit that fast-import cannot."""
    kind, content = history.built[number][1][history.id_of(number)]
    yield f"{printed(content).decode()} | git -C {repository} hash-object -t {kind} -w --stdin >&2"


def _stream(history: History, node: Node) -> Iterator[bytes]:
    yield printed(b"reset refs/making\n\ncommit refs/making\n")
    yield printed(b"author %b\ncommitter %b\n" % (node.author.line, node.committer.line))
    if node.encoding:
        yield printed(b"encoding %b\n" % node.encoding)
    yield printed(_counted(node.message))
    for at, parent in enumerate(node.parents):
        yield printed(b"%b %b\n" % (b"merge" if at else b"from", history.id_of(parent).encode()))
    old = history.nodes[node.parents[0]].files if node.parents else {}
    paths = sorted(changed(old, node.files))
    yield from (printed(b"D %b\n" % _name(path)) for path in paths if path not in node.files)
    for path in paths:
        if path in node.files:
            mode, content = node.files[path]
            if mode == GITLINK:
                yield printed(b"M %o %b %b\n" % (mode, content, _name(path)))
            else:
                yield printed(b"M %o inline %b\n" % (mode, _name(path)) + _counted(content))
    yield printed(b"\n")


def _counted(content: bytes) -> bytes:
    return b"data %d\n%b\n" % (len(content), content)


def _name(path: bytes) -> bytes:
    plain = b"".join(b"%c" % c if 32 < c < 127 and c not in b'"\\' else b"\\%03o" % c for c in path)
    return b'"' + plain + b'"'
