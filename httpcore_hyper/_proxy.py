"""What a pool has been told about a proxy, in one form for httpcore's three ways to say it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._flavour import Flavour
from ._ssl import Policy, Sessions

if TYPE_CHECKING:
    import httpcore

__all__ = ["Credentials", "Settings", "settings_of", "ssl_context_of"]

_SOCKS = frozenset({b"socks5", b"socks5h"})
_SCHEMES = frozenset({b"http", b"https", *_SOCKS})


class Credentials(tuple[bytes, bytes]):
    """A username and a password, as httpcore hands them to listeners; shown without the password."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"({self[0]!r}, ...)"


@dataclass(frozen=True, repr=False)
class Settings:
    """One proxy, as the engine takes it. Not shown: headers and credentials are secrets."""

    is_socks: bool
    """SOCKS5; else HTTP."""
    scheme: bytes
    host: bytes
    port: int
    headers: list[tuple[bytes, bytes]]
    """What an HTTP proxy is sent with each forwarded request and each CONNECT."""
    auth: Credentials | None
    """What a SOCKS proxy is sent."""
    sessions: Sessions
    """The TLS with the proxy itself."""

    @property
    def origin(self) -> str:
        """As httpcore writes it."""
        return f"{self.scheme.decode('ascii')}://{self.host.decode('ascii')}:{self.port}"

    @property
    def is_secure(self) -> bool:
        """Whether TLS is spoken with the proxy itself."""
        return self.scheme == b"https" and not self.is_socks

    def forwards(self, scheme: bytes) -> bool:
        """Whether requests of this scheme go to the proxy itself; a tunnel leads to the others."""
        return scheme == b"http" and not self.is_socks

    def forwarded_request(self, flavour: Flavour, request: httpcore.Request) -> httpcore.Request:
        """A request as the proxy gets it."""
        target = request.url.target
        # The engine's own rule: `absolute` in rust/connect/http_proxy.rs.
        if target.startswith(b"/"):
            port = b"" if request.url.port is None else b":%d" % request.url.port
            target = b"%b://%b%b%b" % (request.url.scheme, _bracketed(request.url.host), port, target)
        headers = [*_without(self.headers, request.headers), *request.headers]
        return self._request(flavour, request, request.method, target, headers, request.stream)

    def connect_request(self, flavour: Flavour, request: httpcore.Request) -> httpcore.Request:
        """What the proxy is asked for a tunnel with."""
        origin = request.url.origin
        target = b"%b:%d" % (_bracketed(origin.host), origin.port)
        first = _without([(b"Host", target), (b"Accept", b"*/*")], self.headers)
        return self._request(flavour, request, b"CONNECT", target, [*first, *self.headers], None)

    def _request(
        self,
        flavour: Flavour,
        request: httpcore.Request,
        method: bytes,
        target: bytes,
        headers: Any,
        stream: Any,
    ) -> httpcore.Request:
        own = ("target", "sni_hostname")  # the origin's business
        made: httpcore.Request = flavour.module.Request(
            method=method,
            url=flavour.module.URL(scheme=self.scheme, host=self.host, port=self.port, target=target),
            headers=headers,
            content=stream,
            extensions={name: value for name, value in request.extensions.items() if name not in own},
        )
        return made


def _bracketed(host: bytes) -> bytes:
    """A host as it stands before a port: IPv6 addresses in brackets."""
    return b"[%b]" % host if b":" in host and not host.startswith(b"[") else host


def _without(
    headers: list[tuple[bytes, bytes]], others: list[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    """The headers that none of the others replaces."""
    replaced = {name.lower() for name, _ in others}
    return [header for header in headers if header[0].lower() not in replaced]


def ssl_context_of(pool: Any) -> ssl.SSLContext | None:
    """The context for TLS with a pool's proxy, if it was given one."""
    context: ssl.SSLContext | None = (
        getattr(pool, "_proxy_ssl_context", None) if pool._proxy is None else pool._proxy.ssl_context
    )
    return context


def settings_of(pool: Any, flavour: Flavour, policy: Policy) -> Settings | None:
    """The proxy of a pool, if it has one.

    Raises `UnsupportedProtocol` for a URL that is no proxy's.
    """
    proxy: httpcore.Proxy | None = pool._proxy
    if proxy is not None:
        url, headers, auth = proxy.url, proxy.headers, proxy.auth
        is_socks = url.scheme in _SOCKS
    elif hasattr(pool, "_proxy_url"):
        url = pool._proxy_url
        headers, auth = getattr(pool, "_proxy_headers", []), getattr(pool, "_proxy_auth", None)
        # The class says it, whatever the URL says.
        is_socks = not hasattr(pool, "_proxy_headers")
    else:
        return None
    if url.scheme not in _SCHEMES:
        scheme = url.scheme.decode("ascii", "replace")
        raise flavour.module.UnsupportedProtocol(f"Proxy URL has an unsupported protocol '{scheme}://'.")
    origin = url.origin
    return Settings(
        is_socks=is_socks,
        scheme=origin.scheme,
        host=origin.host,
        port=origin.port,
        headers=list(headers),
        auth=None if auth is None else Credentials(auth),
        sessions=Sessions(flavour, ssl_context_of(pool), policy),
    )
