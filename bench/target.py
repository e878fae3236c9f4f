"""Where the demo sends its requests: a server of ours, or the user's URL after it was checked."""

from __future__ import annotations

import importlib.util
import socket
import sys
from ipaddress import ip_address
from urllib.parse import urlsplit

from . import ROOT
from .servers import Nginx, Server, ServerMissing, find_nginx

PORTS = {"http": 80, "https": 443}
REACH_SECONDS = 5.0  # a server that takes longer to accept is no server for a demo


class BadURL(Exception):
    """The user's URL cannot be used. The message is for the user."""


class Granian(Server):
    """A server from PyPI, for machines without nginx; its application is ours."""

    def command(self) -> list[str]:
        where = ["--working-dir", str(ROOT), "--host", "127.0.0.1", "--port", str(self.port)]
        return [sys.executable, "-m", "granian", "--interface", "asgi", "--no-ws", *where, "bench.app:app"]


def local_server() -> tuple[str, Server]:
    """nginx where it is installed, else granian; with the name to show."""
    if find_nginx():
        return "nginx", Nginx()
    if importlib.util.find_spec("granian"):
        return "granian", Granian()
    raise ServerMissing("neither nginx nor granian is installed: pip install granian")


def check_url(url: str) -> bool:
    """True if every address of the URL's host is this machine's own; raises BadURL if nothing can be sent."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadURL(f"{url!r}: {error}") from None
    if not parts.scheme or "://" not in url:
        raise BadURL(f"{url!r} has no scheme; try 'http://{url}'")
    if parts.scheme not in PORTS:
        raise BadURL(f"{url!r}: the scheme {parts.scheme!r} is not supported, only http and https are")
    if not parts.hostname:
        raise BadURL(f"{url!r} has no host")
    port = PORTS[parts.scheme] if port is None else port
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        socket.create_connection((parts.hostname, port), timeout=REACH_SECONDS).close()
    except (OSError, UnicodeError, OverflowError) as error:
        raise BadURL(f"{url!r} cannot be reached: {error}") from None
    return all(ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)
