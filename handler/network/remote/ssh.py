"""A repository's remote over SSH, with a deploy key: its refs, and one commit's objects.

Each request is a connection of its own. Nothing is taken from this machine: no configuration, no agent, no key and no
host key of a file. Imported when a repository has a url for SSH.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from handler.config.credential import DeployKey
from handler.config.ssh_url import parse_ssh_url
from handler.deadline import Deadline
from handler.exchange.remote import FetchQuery, RemoteRefs, ShallowChanges, Sink
from handler.network.remote import protocol, protocol_ssh
from handler.network.remote.client import RemotePool, TimedRemote
from handler.network.remote.ssh_session import KeyRefused, opened

T = TypeVar("T")
RenewKey = Callable[[], DeployKey | None]
"""As `authorization.Renew`, of the key."""


class SshRemote(TimedRemote):
    """One repository at its URL."""

    def __init__(
        self, remotes: RemotePool, url: str, key: DeployKey, deadline: Deadline, renew: RenewKey | None = None
    ) -> None:
        """`renew` is called once where the remote refuses the key."""
        super().__init__(remotes, deadline)
        self._url = parse_ssh_url(url)
        self._lock = threading.Lock()
        self._key = key
        self._renew = renew

    def refs(self, refs: list[str], *, with_head: bool = False) -> RemoteRefs:
        """See `Remote`: one connection."""
        until = self._until()

        def talk(read: protocol.Read, send: protocol_ssh.Send) -> RemoteRefs:
            return protocol_ssh.ask_refs(read, send, refs, with_head=with_head)

        return self._with_retries(lambda: self._request(talk, until), until)

    def fetch(self, query: FetchQuery, sink: Sink) -> ShallowChanges:
        """See `Remote`: one connection."""
        until = self._until()

        def talk(read: protocol.Read, send: protocol_ssh.Send) -> ShallowChanges:
            return protocol_ssh.fetch(read, send, query, sink())

        return self._with_retries(lambda: self._request(talk, until), until)

    def _request(self, talk: Callable[[protocol.Read, protocol_ssh.Send], T], until: Deadline) -> T:
        """Connect, and return what `talk` makes of the answer. Raises RequestOverrun or OutOfTime at `until`."""
        with self._by(until):
            refused = self._key
            try:
                return self._exchange(refused, talk, until)
            except KeyRefused:
                if not self._has_other_than(refused):
                    raise
            return self._exchange(self._key, talk, until)

    def _has_other_than(self, refused: DeployKey) -> bool:
        with self._lock:
            # As with tokens: of two requests at the same time the first to be refused reads the key afresh.
            if self._key is refused:
                renew, self._renew = self._renew, None
                self._key = (renew() if renew is not None else None) or refused
            return self._key is not refused

    def _exchange(self, key: DeployKey, talk: Callable[[protocol.Read, protocol_ssh.Send], T], until: Deadline) -> T:
        assert until.at is not None
        remotes = self._remotes
        with (
            remotes.watchdog.watching(until.at) as watch,
            opened(self._url, key, remotes.settings, watch) as session,
        ):
            read = protocol.exact_reader(session.read, partial(self._check_time, until))
            try:
                return talk(read, session.send)
            except protocol.NotVersion2:
                raise session.refusal() from None
