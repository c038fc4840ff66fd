"""Values of the handler's modules that a scene sets, and settings that every scene has."""

import importlib
from collections.abc import Mapping

SETTINGS: Mapping[str, object] = {"spare_files": 10_000, "background": True}
"""Allow spares, which the scenes' own parameters refuse where they are about something else."""


def patch(values: Mapping[str, object]) -> dict[str, object]:
    """Set values of modules, each named `module:name`; return those that were there."""
    before = {}
    for name, value in values.items():
        module, _, attribute = name.partition(":")
        before[name] = getattr(importlib.import_module(module), attribute)
        setattr(importlib.import_module(module), attribute, value)
    return before
