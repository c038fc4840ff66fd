"""A request to a forge's API, as a value. Pure: no I/O, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """A request to a forge's API, whose body is `fields` as JSON; None: it has none. The headers hold the token."""

    method: str
    url: str
    headers: Mapping[str, str]
    fields: Mapping[str, object] | None = None
