"""What stands before the mount side's methods, and does with a call what a test says."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from handler.exchange.messages import OPERATOR_ACTIONS, PUBLISHER_ACTIONS
from handler.exchange.publisher import PublishAnswer, PublishRequest
from handler.mount.operations.local import LocalOperations
from handler.mount.publisher import LocalPublisher
from handler.network import pack_sender

Call = Callable[..., Any]
LARGE = 500_000
"""With `let_parts_be_small`: three parts. A guess is asked about before the first."""


def let_parts_be_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let packs go in parts that are small already."""
    monkeypatch.setattr(pack_sender, "MAX_PACK_BYTES", 200_000)
    monkeypatch.setattr(pack_sender, "PART_BYTES", 200_000)
    monkeypatch.setattr(pack_sender, "UNASKED_BYTES", 100_000)


class Killed(BaseException):
    """The network side ends here, as a process that is killed does."""


def killed() -> None:
    """End the network side."""
    raise Killed


def nothing() -> None:
    """Let it through."""


class Door:
    """Notes the calls of some of the mount side's methods; `before` and `after` are called at the call `at`.

    Once the network side is killed it makes no other call, whatever it does on its way out, until `forget`.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, actions: Iterable[str]) -> None:
        """Let everything through."""
        self.publishes: list[tuple[LocalPublisher, PublishRequest]] = []
        self.calls: list[str] = []
        self.at: int | None = None
        self.before = self.after = nothing
        self.publish: Callable[[LocalPublisher, PublishRequest], PublishAnswer] = LocalPublisher.publish
        self._is_dead = False
        for name in actions:
            owner: type = LocalPublisher if name in PUBLISHER_ACTIONS else LocalOperations
            assert name in (*PUBLISHER_ACTIONS, *OPERATOR_ACTIONS)
            monkeypatch.setattr(owner, name, self._standing(name, getattr(owner, name)))

    def _standing(self, name: str, method: Call) -> Call:
        def call(owner: Any, *arguments: Any, **named: Any) -> Any:
            if self._is_dead:
                raise Killed
            number = len(self.calls)
            self.calls.append(name)
            if name == "publish":
                # By its name where it comes as a message.
                self.publishes.append((owner, arguments[0] if arguments else named["request"]))
            if number == self.at:
                self._do(self.before)
            answer = method(owner, *arguments, **named)
            if number == self.at:
                self._do(self.after)
            return answer

        return call

    def _do(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Killed:
            self._is_dead = True
            raise

    def forget(self) -> None:
        """Count the calls from here; a process that was killed is started again."""
        self.calls.clear()
        self.at = None
        self._is_dead = False
