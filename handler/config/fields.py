"""JSON from outside, read strictly. Pure: no I/O, no clock.

Refused beyond what Python's reader refuses: NaN and Infinity, which JSON does not have, and a key that stands
twice in an object, where two readers may see two different things.
"""

import json
from typing import NoReturn


def parse_object(text: str) -> dict[str, object]:
    """Return the JSON object that `text` is.

    Raises ValueError, with a message that is the end of a sentence and holds none of the text's values.
    """
    try:
        parsed = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except _NotStrictError:
        raise
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON (line {error.lineno}, column {error.colno})") from None
    except ValueError:  # an integer of more digits than Python reads
        raise ValueError("holds a number that is too long") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(parsed, dict):
        raise ValueError("is not a JSON object")
    return parsed


class _NotStrictError(ValueError):
    """Ours, to be told from the reader's own ValueError."""


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _NotStrictError("has an object with the same key twice")
    return found


def _refuse_constant(_: str) -> NoReturn:
    raise _NotStrictError("holds NaN or Infinity, which JSON does not have")
