"""Ways to a remote in a private network: by a proxy, and to a certificate that an authority of one's own signed.

Sources: urllib3's docs ("Advanced usage": proxies, custom TLS certificates), curl's and Python's on NO_PROXY.
"""

import re
import ssl
from functools import lru_cache
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.util import create_urllib3_context, make_headers

from handler.errors import ConfigurationInvalid
from handler.settings import Settings

MAX_POOLS = 32
_ENTRY = re.compile(r"\.?(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^:\s]+))(?::(?P<port>[0-9]+))?")


def private_pool(url: str, settings: Settings, ca: str | None, public: urllib3.PoolManager) -> urllib3.PoolManager:
    """Return the pool for `url`: like `public`, through the settings' proxy, and with the authorities in `ca` (PEM).

    It is kept for the process. Raises ConfigurationInvalid where `ca` is no certificate.
    """
    proxy = proxy_for(url, settings)
    return public if proxy is None and ca is None else _pool(proxy, ca, public)


def proxy_for(url: str, settings: Settings) -> str | None:
    """Return the proxy's URL for `url`; None where there is none, or `no_proxy` names the host. Pure.

    What is asked for without TLS is on loopback, and goes through no proxy: that would read the token in its header.
    """
    parts = urlsplit(url)
    if not settings.https_proxy or parts.scheme != "https":
        return None
    host, port = (parts.hostname or "").lower(), str(parts.port or 443)
    return None if any(_names(each, host, port) for each in settings.no_proxy.split(",")) else settings.https_proxy


def _names(entry: str, host: str, port: str) -> bool:
    """Whether an entry of NO_PROXY names the host: `*`, or a name, meant with all below it, with or without a port."""
    match = _ENTRY.fullmatch(entry.strip().lower())
    if match is None:
        return False
    name = match["address"] or match["name"]
    is_named = name in ("*", host) or host.endswith(f".{name}")
    return is_named and match["port"] in (None, port)


# The public pool is part of the key: its timeouts and its kinds of connection are taken over.
@lru_cache(maxsize=MAX_POOLS)
def _pool(proxy: str | None, ca: str | None, public: urllib3.PoolManager) -> urllib3.PoolManager:
    given = {"retries": False, "maxsize": 32, "timeout": public.connection_pool_kw["timeout"]}
    if ca is not None:
        given["ssl_context"] = _context(ca)
    if proxy is None:
        made = urllib3.PoolManager(num_pools=MAX_POOLS, **given)
    else:
        parts = urlsplit(proxy)
        # They go into CONNECT's own headers; the token only into those of the request inside the tunnel.
        own = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}" if parts.username else None
        address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        made = urllib3.ProxyManager(
            address, num_pools=MAX_POOLS, proxy_headers=make_headers(proxy_basic_auth=own) if own else None, **given
        )
    made.pool_classes_by_scheme = public.pool_classes_by_scheme
    return made


def _context(ca: str) -> ssl.SSLContext:
    context = create_urllib3_context()
    # Beside the public ones: a proxy that opens TLS signs some hosts and not others.
    context.load_default_certs()
    try:
        context.load_verify_locations(cadata=ca)
    except (ssl.SSLError, ValueError):
        raise ConfigurationInvalid("the parameter that `ca` names holds no certificates in PEM") from None
    return context
