"""Capture what the handler writes to standard output, as CloudWatch gets it: log lines and metrics."""

import contextlib
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any, TextIO

Line = dict[str, Any]


class Output:
    """Text, parsed as log lines (JSON objects) and metrics (lines in CloudWatch's embedded metric format)."""

    @property
    def text(self) -> str:
        """Everything written so far."""
        raise NotImplementedError

    @property
    def lines(self) -> list[Line]:
        """Every line. Raises ValueError for a line that is not a JSON object, which CloudWatch could not query."""
        parsed: list[Line] = []
        for line in filter(None, map(str.strip, self.text.splitlines())):
            value = json.loads(line)
            if not isinstance(value, dict):
                raise ValueError(f"not a JSON object: {line[:200]}")
            parsed.append(value)
        return parsed

    @property
    def log_lines(self) -> list[Line]:
        """The lines that are not metrics."""
        return [line for line in self.lines if "_aws" not in line]

    @property
    def metrics(self) -> list[Line]:
        """The lines with embedded metrics."""
        return [line for line in self.lines if "_aws" in line]

    def metric_values(self, name: str) -> list[float]:
        """Return the values of one metric, in the order of writing."""
        values: list[float] = []
        for line in self.metrics:
            declared = [m["Name"] for part in line["_aws"]["CloudWatchMetrics"] for m in part["Metrics"]]
            if name in declared:
                value = line[name]
                values += value if isinstance(value, list) else [value]
        return values


class CapturedOutput(Output):
    """Standard output of this process while a delivery runs; deliveries may overlap in threads.

    A logger's handler keeps the stream that was standard output when it was made, so this redirects those handlers
    too, and restores them afterwards. It leaves alone handlers to standard error, and pytest's.
    """

    def __init__(self) -> None:
        """Capture nothing before `capturing`."""
        self._buffer = io.StringIO()
        self._lock = threading.Lock()
        self._depth = 0
        self._before: TextIO = sys.stdout
        self._moved: list[tuple[logging.StreamHandler[Any], Any]] = []

    @property
    def text(self) -> str:
        """Everything captured so far."""
        return self._buffer.getvalue()

    def clear(self) -> None:
        """Forget what was captured."""
        self._buffer.seek(0)
        self._buffer.truncate()

    @contextlib.contextmanager
    def capturing(self) -> Iterator[None]:
        """Capture while the block runs."""
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                self._before, sys.stdout = sys.stdout, self._buffer
                self._moved = [(handler, handler.setStream(self._buffer)) for handler in _handlers()]
        try:
            yield
        finally:
            with self._lock:
                self._depth -= 1
                if self._depth == 0:
                    sys.stdout = self._before
                    for handler, stream in self._moved:
                        if stream is not None:
                            handler.setStream(stream)


def _handlers() -> list[logging.StreamHandler[Any]]:
    """Return the handlers of all loggers that write to the present or a former standard output."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    return [
        handler
        for logger in loggers
        if isinstance(logger, logging.Logger)
        for handler in logger.handlers
        if type(handler) is logging.StreamHandler and handler.stream not in (sys.stderr, sys.__stderr__)
    ]
