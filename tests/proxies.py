"""Proxies out of scripted servers, which are the origin as well, and how a pool is told of them.

No rule of httpcore is tested here.
"""

from __future__ import annotations

from typing import Any

import httpcore
import routes
from certificates import client_context
from doors import Door
from pools import Pool
from routes import Request, Steps
from servers import RECEIVE, SERVE, START_TLS, Script, Server, Step, call, send
from socks_server import NO_AUTH, PASSWORD, Socks

ESTABLISHED = send(b"HTTP/1.1 200 Connection established\r\n\r\n")
# The proxy agrees to a tunnel; what follows in a script is the origin's.
TUNNEL: list[Step] = [RECEIVE, ESTABLISHED]
FORWARD, HTTPS, SOCKS = "http", "https", "socks5"


def serve(request: Request) -> Steps:
    """The routes, behind an HTTP proxy that tunnels to origins with TLS."""
    if request.method == b"CONNECT":
        return [("send", ESTABLISHED.args), ("start_tls", ())]
    return routes.respond(request)


def well_behaved(kind: str, *, tls: bool, auth: object = None) -> Script:
    """A connection on which all is well."""
    if kind != SOCKS:
        return [SERVE]
    agreeing = call(Socks(NO_AUTH if auth is None else PASSWORD))
    return [agreeing, START_TLS, SERVE] if tls else [agreeing, SERVE]


def proxy_to(server: Server, kind: str, auth: tuple[str, str] | None = None, **more: Any) -> httpcore.Proxy:
    """The proxy that a server is."""
    if kind == HTTPS:
        more = {"ssl_context": client_context(), **more}
    return httpcore.Proxy(f"{kind}://{server.host}:{server.port}", auth=auth, **more)


def pool_behind(door: Door, server: Server, kind: str, auth: Any = None, **options: Any) -> Pool:
    """A pool all of whose connections go through the server, and which trusts the origins behind it."""
    proxy = proxy_to(server, kind, auth)
    return door.pool(proxy=proxy, **{"ssl_context": client_context(), **options})


def recover(server: Server, kind: str, auth: object = None) -> None:
    """From here on every connection is a well-behaved one."""
    good = well_behaved(kind, tls=server.tls is not None, auth=auth)
    server.scripts[:] = [good] * (len(server.connections) + 64)
