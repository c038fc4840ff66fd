"""A delivery's headers. Pure: no I/O, no clock."""

import re
from collections.abc import Mapping

from handler.errors import Malformed
from handler.model import Delivery

_EVENT = re.compile(r"[a-z][a-z0-9_]{0,99}")
_ID = re.compile(r"[A-Za-z0-9-]{1,100}")


def read_delivery(headers: Mapping[str, str], body: bytes) -> Delivery:
    """Return the delivery; `headers` have lower-case names, `body` is verified and not decoded yet.

    The id is '' when it is missing or invalid: it only correlates log lines, and goes into them as it is. The media
    type is in lower case without its parameters, '' when missing.

    Raises Malformed when X-GitHub-Event is missing or not an event's name.
    """
    event = headers.get("x-github-event")
    if event is None:
        raise Malformed("the X-GitHub-Event header is missing")
    if not _EVENT.fullmatch(event):
        raise Malformed("the X-GitHub-Event header is not an event's name")
    delivery_id = headers.get("x-github-delivery", "")
    return Delivery(
        id=delivery_id if _ID.fullmatch(delivery_id) else "",
        event=event,
        media_type=headers.get("content-type", "").partition(";")[0].strip().lower(),
        body=body,
    )
