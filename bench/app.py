"""The demo's server where nginx is not installed: an ASGI application for granian that knows one answer."""

from __future__ import annotations

from typing import Any

BODY = b"x" * 242  # what the benchmark's nginx serves; equal to `servers.SMALL_BODY`
HEADERS = [(b"content-type", b"application/octet-stream"), (b"content-length", b"%d" % len(BODY))]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": BODY})
