"""The handler on a host whose clock is wrong: an entry for a `ServiceProcess`.

It is GIT2EFS_TEST_AHEAD seconds ahead. The mount's clock is not the host's to set.
"""

import os
import time

from handler.mount.publisher import LocalPublisher

_time, _ahead = time.time, float(os.environ["GIT2EFS_TEST_AHEAD"])
time.time = lambda: _time() + _ahead
# Its default holds on to what the name meant when the module was imported.
_defaults = LocalPublisher.__init__.__kwdefaults__
assert _defaults is not None
_defaults["clock"] = time.time

# What holds on to it too is imported only now.
from handler.webhook import handler  # noqa: E402

__all__ = ["handler"]
