"""How a server is reached: through which proxy and with which certificates, as the environment says to every client.

HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY name proxies; no proxy can reach this machine's own loopback, so none is
asked for it. SSL_CERT_FILE, SSL_CERT_DIR, REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE name certificates of one's own.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.helpers import BasicAuth, strip_auth_from_url
from yarl import URL

from seedbed.engines import NOBODY, EngineError, EngineGone
from seedbed.engines.completion import PassingFault

BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST")


@dataclass(frozen=True, slots=True)
class Route:
    """The way to a server: the proxy before it, if any, with its name and password; what its certificate is held to."""

    proxy: URL | None = None
    login: BasicAuth | None = None
    tls: ssl.SSLContext | bool = True


DIRECT = Route()


def route(base: URL) -> Route:
    """The way that the environment says. Raises ValueError for a proxy or bundle that cannot be used."""
    tls = _tls() if base.scheme == "https" else True
    host = base.host or ""
    named = getproxies()
    told = named.get(base.scheme) or named.get("all")
    if not told or _loopback(host) or proxy_bypass(host):
        return Route(tls=tls)
    proxy, login = strip_auth_from_url(URL(told if "://" in told else f"http://{told}"))
    if proxy.scheme not in ("http", "https") or not proxy.host:
        raise ValueError(
            f"the proxy for {base.scheme}:// in the environment is a {proxy.scheme} proxy, and only http ones can be "
            f"used: set {base.scheme.upper()}_PROXY to one, or name {host} in NO_PROXY"
        )
    return Route(proxy, login, tls)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    for name in BUNDLES:
        if path := os.environ.get(name):
            try:
                context.load_verify_locations(**{"capath" if os.path.isdir(path) else "cafile": path})  # noqa: PTH112
            except (OSError, ssl.SSLError) as error:
                raise ValueError(f"the certificates that {name} names cannot be read: {path}: {error}") from error
    return context


def lost(error: aiohttp.ClientError | OSError, where: str, way: Route) -> PassingFault | EngineError:
    """What a connection that failed means: what no further try can mend says so at once."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return EngineGone(f"{where}: {_untrusted(error.certificate_error)}", "certificate not trusted")
    reason = str(getattr(getattr(error, "os_error", error), "reason", ""))
    if isinstance(error, aiohttp.ClientConnectorSSLError) and reason in _NOT_TLS:
        return EngineGone(
            f"{where}: no TLS is spoken there ({reason}). Write http:// in base_url, or another port", "no TLS"
        )
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _of_proxy(error, where, way)
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        why = f"the proxy {way.proxy}, named in the environment, cannot be reached ({error.os_error})"
        return PassingFault(why, kind=f"{NOBODY}: the proxy", absent=True)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        why = (
            f"the name {error.host} is not known ({error.os_error}). Check base_url, and HTTP_PROXY if a proxy knows it"
        )
        return PassingFault(why, kind=f"{NOBODY}: unknown name", absent=True)
    return PassingFault(f"{type(error).__name__}: {error}", kind=f"{NOBODY}: no connection", absent=True)


def _untrusted(error: Exception) -> str:
    why = getattr(error, "verify_message", "") or str(error)
    if "mismatch" in why:
        return f"its certificate is for another name ({why}). Write the name that it is for in base_url"
    return (
        f"its certificate is not trusted ({why}). If it is one of your own, name the file of the authority that signed "
        "it in the environment variable SSL_CERT_FILE"
    )


def _of_proxy(error: aiohttp.ClientHttpProxyError, where: str, way: Route) -> PassingFault | EngineError:
    told = f"{where}: the proxy {way.proxy} says HTTP {error.status} {error.message}"
    if error.status == 407:
        return EngineGone(
            f"{told}. Write its name and password: HTTPS_PROXY=http://name:password@host:port", "proxy login"
        )
    if error.status in (403, 405):
        return EngineGone(
            f"{told}. It lets nobody through to there: name the host in NO_PROXY, or another proxy", "proxy"
        )
    return PassingFault(
        f"the proxy {way.proxy} says HTTP {error.status} {error.message}", kind=f"{NOBODY}: the proxy", absent=True
    )
